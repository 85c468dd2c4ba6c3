//! Notices of the server to an account: about its quota, for example. They go the way of all mail, but no quota refuses them
//! and no route leads them elsewhere.

use crate::date;
use crate::deliver::Deliver;
use crate::message::Message;
use crate::shelf::Missing;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use culver_base::MailboxName;
use culver_directory::Account;
use culver_events::{Delivery, Event};
use culver_store::{Copies, Shared};
use std::sync::Arc;
use std::time::Duration;

/// A notice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
}

impl Notice {
    /// The message. Nobody answers it by itself (RFC 3834 §5).
    fn message(&self, to: &str, host: &str, id: &str, at: Duration) -> String {
        let subject = encoded(&self.subject);
        let text = self.text.replace("\r\n", "\n").replace('\n', "\r\n");
        let date = date::rfc5322(at);
        format!(
            "Return-Path: <>\r\nFrom: Mail server <postmaster@{host}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {date}\r\n\
             Message-ID: <{id}@{host}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n",
            text.trim_end()
        )
    }
}

/// A subject: as it is, or as encoded words of RFC 2047 §2.
fn encoded(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.is_ascii() && clean.len() < 70 {
        return clean;
    }
    let mut words: Vec<String> = vec![String::new()];
    for c in clean.chars() {
        // RFC 2047 §2: 75 characters of a word, 76 of a line, with `Subject: `, `=?utf-8?B?` and `?=`.
        if words.last().is_some_and(|w| w.len() + c.len_utf8() > 39) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    let words: Vec<String> = words.iter().map(|w| format!("=?utf-8?B?{}?=", STANDARD.encode(w))).collect();
    words.join("\r\n ")
}

impl Deliver {
    /// Puts a notice into the account's INBOX.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn notice(&self, account: &Account, notice: &Notice, at: Duration) -> culver_store::Result<()> {
        let mut random = [0_u8; 12];
        // Without random numbers the time alone tells notices apart.
        let _ = getrandom::fill(&mut random);
        let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let id = format!("{}.{id}", at.as_millis());
        let text = notice.message(&account.name, &self.settings.host, &id, at);
        let message = Message::in_memory(Bytes::from(text));
        let shared = Arc::new(Shared::new(Bytes::new(), message.octets.clone(), Copies::One));
        let inbox = MailboxName::inbox();
        self.shelf.put(account, &inbox, shared, Missing::Refuse).await?;
        let delivery = Delivery {
            service: "notice",
            session: id,
            account: account.name.clone(),
            message_id: message.id(),
            sender: String::new(),
            size: message.octets.len(),
        };
        self.events.emit(Event::Delivered { delivery, mailbox: inbox.as_str().to_owned() });
        self.quota.stored(account).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message() {
        let notice =
            Notice { subject: "Ihr Postfach ist voll: ünü".repeat(3), text: "Ja.\nNein.\n".into() };
        let text = notice.message("anna@example.org", "mail.example.org", "1", Duration::ZERO);
        let header = text.split("\r\n\r\n").next().unwrap();
        assert!(header.lines().all(|l| l.len() <= 78), "{header}");
        assert!(text.ends_with("\r\n\r\nJa.\r\nNein.\r\n"));
        let field = culver_mime::fields::iter(text.as_bytes()).find(|f| f.is(b"Subject")).unwrap();
        assert_eq!(culver_mime::charset::decode_words(&field.unfolded()), notice.subject);
        assert_eq!(encoded("Quota\r\nBcc: x"), "Quota  Bcc: x");
    }
}
