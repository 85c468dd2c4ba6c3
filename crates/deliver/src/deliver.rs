//! The delivery itself: every target of every recipient, and one answer for each recipient.

use crate::answer::{self, OverQuota};
use crate::forward::Forwarder;
use crate::message::Message;
use crate::quota::Quota;
use crate::recipient::Recipient;
use crate::shelf::{Missing, Shelf};
use crate::trace::{DeliveredTo, Envelope, delivered_to};
use bytes::Bytes;
use culver_base::MailboxName;
use culver_directory::{Account, Directory, Target};
use culver_events::{Delivery, Event, Events};
use culver_lmtp::Reply;
use culver_store::io::Io;
use culver_store::{Copies, Failure, Refusal, Shared};
use futures_util::{Stream, StreamExt as _, stream};
use std::sync::Arc;

/// Settings of the delivery.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name, for Received.
    pub host: String,
    /// Does `user+detail` go to the mailbox `detail`, if there is one?
    pub detail_mailbox: bool,
    /// What is done about mailboxes that do not exist.
    pub missing: Missing,
    /// Which messages get Delivered-To.
    pub delivered_to: DeliveredTo,
    /// What a full mailbox is answered with.
    pub over_quota: OverQuota,
    /// Recipients of one message that are served at the same time.
    pub parallel: usize,
}

/// The delivery.
pub struct Deliver {
    /// Who is who.
    pub directory: Arc<Directory>,
    /// Where mail is put.
    pub shelf: Arc<dyn Shelf>,
    /// What may be put there.
    pub quota: Arc<dyn Quota>,
    /// For what goes elsewhere.
    pub forwarder: Forwarder,
    /// What happened.
    pub events: Events,
    /// Reads messages that lie in files.
    pub io: Arc<Io>,
    /// Settings.
    pub settings: Settings,
}

/// What was done for one target.
enum Done {
    Saved(MailboxName),
    Forwarded,
}

impl Deliver {
    /// Delivers to all; the answers come in the order of the recipients, each as soon as those before it are there.
    pub fn deliver<'a>(
        &'a self,
        envelope: &'a Envelope,
        message: &'a Message,
        recipients: &'a [Recipient],
    ) -> impl Stream<Item = Reply> + 'a {
        let single = recipients.len() == 1;
        let per_recipient = match self.settings.delivered_to {
            DeliveredTo::Single => single,
            DeliveredTo::Always => true,
            DeliveredTo::Never => false,
        };
        let one_file = single && recipients.iter().all(|r| r.targets.len() == 1);
        let copies = if one_file || (per_recipient && !single) { Copies::One } else { Copies::Many };
        let shared = self.shared(envelope, message, None, copies);
        let one = move |recipient: &'a Recipient| {
            let shared = if per_recipient {
                let copies = if recipient.targets.len() > 1 { Copies::Many } else { Copies::One };
                let field = delivered_to(&recipient.address.to_string());
                self.shared(envelope, message, Some(&field), copies)
            } else {
                shared.clone()
            };
            self.one(envelope, message, recipient, shared)
        };
        // The first one alone: what it writes and learns, the others link to and know.
        let (first, rest) = recipients.split_at(recipients.len().min(1));
        let first = stream::iter(first).then(one.clone());
        first.chain(stream::iter(rest).map(one).buffered(self.settings.parallel.max(1)))
    }

    fn shared(
        &self,
        envelope: &Envelope,
        message: &Message,
        more: Option<&str>,
        copies: Copies,
    ) -> Arc<Shared> {
        let mut head = envelope.return_path();
        head.push_str(more.unwrap_or_default());
        head.push_str(&envelope.received(&self.settings.host));
        Arc::new(Shared::new(Bytes::from(head), message.octets.clone(), copies))
    }

    async fn one(
        &self,
        envelope: &Envelope,
        message: &Message,
        recipient: &Recipient,
        shared: Arc<Shared>,
    ) -> Reply {
        let size = message.octets.len() + shared.head().len() as u64;
        let mut open = Vec::new();
        let mut worst = None;
        for target in &recipient.targets {
            match self.refusal(target, recipient, size).await {
                // Nothing has been done yet: it will be tried again as a whole, and nobody gets it twice.
                Some(reply) if reply.is_transient() => {
                    self.tell_failure(envelope, message, recipient, target, &reply);
                    return reply;
                }
                Some(reply) => {
                    self.tell_failure(envelope, message, recipient, target, &reply);
                    worst = Some(worse(worst, reply));
                }
                None => open.push(target),
            }
        }
        let mut said = String::new();
        for target in open {
            let done = match target {
                Target::Mailbox { account, detail } => {
                    self.save(envelope, account, self.mailbox_for(recipient, detail.as_deref()), &shared)
                        .await
                }
                Target::Forward { address } => {
                    let from = recipient.address.to_string();
                    let reply = self.forwarder.forward(&self.io, envelope, message, &from, address).await;
                    if reply.is_positive() { Ok(Done::Forwarded) } else { Err(reply) }
                }
            };
            match done {
                Ok(done) => said = self.tell(envelope, message, size, recipient, target, done),
                Err(reply) => {
                    self.tell_failure(envelope, message, recipient, target, &reply);
                    worst = Some(worse(worst, reply));
                }
            }
        }
        worst.unwrap_or_else(|| {
            Reply::new(250, 0, 0, format!("<{}> {} {said}", recipient.address, envelope.session))
        })
    }

    async fn save(
        &self,
        envelope: &Envelope,
        account: &Arc<Account>,
        mailbox: MailboxName,
        message: &Arc<Shared>,
    ) -> Result<Done, Reply> {
        let mut put = self.shelf.put(account, &mailbox, message.clone(), self.settings.missing).await;
        let mut into = mailbox;
        // What was wished for is not worth a bounce (dovecot-lda does the same).
        if let Err(Failure::Refused(
            Refusal::NonExistent | Refusal::TryCreate | Refusal::MailboxGone | Refusal::Cannot(_),
        )) = &put
        {
            into = MailboxName::inbox();
            put = self.shelf.put(account, &into, message.clone(), self.settings.missing).await;
        }
        match put {
            Ok(()) => {
                self.quota.stored(account).await;
                Ok(Done::Saved(into))
            }
            Err(failure) => Err(self.failed(&account.name, &failure, &envelope.session)),
        }
    }

    /// The reply to a failure; a fault is logged, here and nowhere else.
    pub(crate) fn failed(&self, account: &str, failure: &Failure, session: &str) -> Reply {
        if let Failure::Fault(fault) = failure {
            let (account, session) = (account.to_owned(), session.to_owned());
            self.events.emit(Event::Fault { account, what: fault.to_string(), session });
        }
        answer::failure(failure, session)
    }

    fn tell(
        &self,
        envelope: &Envelope,
        message: &Message,
        size: u64,
        recipient: &Recipient,
        target: &Target,
        done: Done,
    ) -> String {
        let delivery = delivery(envelope, message, size, recipient, target);
        match done {
            Done::Saved(mailbox) => {
                let said = format!("saved in {mailbox}");
                self.events.emit(Event::Delivered { delivery, mailbox: mailbox.as_str().to_owned() });
                said
            }
            Done::Forwarded => {
                let to = match target {
                    Target::Forward { address } => address.clone(),
                    Target::Mailbox { .. } => String::new(),
                };
                self.events.emit(Event::Forwarded { delivery, to });
                "forwarded".to_owned()
            }
        }
    }

    fn tell_failure(
        &self,
        envelope: &Envelope,
        message: &Message,
        recipient: &Recipient,
        target: &Target,
        reply: &Reply,
    ) {
        let delivery = delivery(envelope, message, message.octets.len(), recipient, target);
        self.events.emit(Event::DeliveryFailed { delivery, why: reply.to_string() });
    }
}

fn delivery(
    envelope: &Envelope,
    message: &Message,
    size: u64,
    recipient: &Recipient,
    target: &Target,
) -> Delivery {
    Delivery {
        service: envelope.service,
        session: envelope.session.clone(),
        account: match target {
            Target::Mailbox { account, .. } => account.name.clone(),
            Target::Forward { .. } => recipient.address.to_string(),
        },
        message_id: message.id(),
        sender: envelope.sender.to_string(),
        size,
    }
}

/// What decides: trouble that may pass before trouble that will not, since then somebody has yet to get it.
fn worse(one: Option<Reply>, other: Reply) -> Reply {
    match one {
        Some(one) if one.is_transient() || !other.is_transient() => one,
        _ => other,
    }
}
