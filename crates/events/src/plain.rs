//! The rendering for people: a sentence, then what it is about.

use crate::event::{Delivery, Event, Origin, Transport};
use crate::text::{clean, line};

/// The text of a line, without time and level.
pub fn render(event: &Event) -> String {
    match event {
        Event::Started { version, listeners } => {
            format!("Culver {version} is ready on {}", listeners.join(", "))
        }
        Event::Stopping { sessions } => format!("stopping; open sessions: {sessions}"),
        Event::Stopped { cut: 0 } => "stopped".to_owned(),
        Event::Stopped { cut } => format!("stopped; sessions that had to be cut: {cut}"),
        Event::Reloaded { need_restart } if need_restart.is_empty() => "settings reloaded".to_owned(),
        Event::Reloaded { need_restart } => {
            format!("settings reloaded; these count only after a restart: {}", need_restart.join(", "))
        }
        Event::ReloadFailed { why } => format!("settings not reloaded, the old ones stay: {}", line(why)),
        Event::CertificatesLoaded { names } => format!("certificates loaded for {}", names.join(", ")),
        Event::CertificateProblem { file, why } => {
            format!("certificate {file} not loaded, the old one stays in use: {}", line(why))
        }
        Event::AcceptFailed { listener, why } => format!("{listener} cannot accept: {}", line(why)),
        Event::HandshakeFailed { from, why } => {
            format!("no handshake: {}; {}", line(why), about(from))
        }
        Event::Login { account, method, from } => {
            format!("login of {} by {}; {}", clean(account), clean(method), about(from))
        }
        Event::LoginAs { account, by, from } => {
            format!("{} logs in as {}; {}", clean(by), clean(account), about(from))
        }
        Event::SessionsNearLimit { account, open, limit, from } => format!(
            "{} has {open} sessions from one network, of {limit} that it may have; {}",
            clean(account),
            about(from)
        ),
        Event::Blocked { network, account, guesses, seconds, from } => format!(
            "{} blocked from {network} for {seconds} s after {guesses} different guesses (culver auth blocks list); {}",
            account.as_deref().map_or_else(|| "everybody".to_owned(), clean),
            about(from)
        ),
        Event::LoginFailed { attempt, from } => format!(
            "login failed for <{}> by {}: {}; attempt {} after {} s; {}",
            clean(&attempt.user),
            clean(&attempt.method),
            line(&attempt.reason),
            attempt.attempts,
            attempt.elapsed.as_secs(),
            about(from)
        ),
        Event::WeakPassword { account, scheme } => format!(
            "the password of {} is stored by the weak scheme {}: set it anew with `culver user passwd {}`",
            clean(account),
            clean(scheme),
            clean(account)
        ),
        Event::PasswordRehashed { account, scheme } => {
            format!(
                "the password of {}, stored by the weak scheme {}, was stored anew",
                clean(account),
                clean(scheme)
            )
        }
        Event::SessionEnded { account, why, received, sent, from } => format!(
            "session of {} ended: {}; in={received} out={sent}; {}",
            account.as_deref().map_or_else(|| "nobody".to_owned(), clean),
            line(why),
            about(from)
        ),
        Event::MaildropClosed { account, why, counts: c, from } => format!(
            "session of {} ended: {}; top={}/{} retr={}/{} deleted={}/{} size={}; {}",
            clean(account),
            line(why),
            c.top,
            c.top_octets,
            c.retr,
            c.retr_octets,
            c.deleted,
            c.messages,
            c.octets,
            about(from)
        ),
        Event::Delivered { delivery, mailbox } => {
            format!(
                "delivered {} to {}: saved in {}; {}",
                id(delivery),
                clean(&delivery.account),
                line(mailbox),
                of(delivery)
            )
        }
        Event::Forwarded { delivery, to } => {
            format!(
                "delivered {} to {}: forwarded to {}; {}",
                id(delivery),
                clean(&delivery.account),
                clean(to),
                of(delivery)
            )
        }
        Event::DeliveryFailed { delivery, why } => {
            format!(
                "not delivered {} to {}: {}; {}",
                id(delivery),
                clean(&delivery.account),
                line(why),
                of(delivery)
            )
        }
        Event::Repaired { account, mailbox, file, why } => {
            format!("repaired {} of {} ({}): {}", line(file), clean(account), line(mailbox), line(why))
        }
        Event::Quota { account, step, percent, storage, messages, until } => {
            let mut text = format!(
                "quota of {}: {step} at {percent} %, octets={storage} messages={messages}",
                clean(account)
            );
            if let Some(until) = until.and_then(|until| u64::try_from(until).ok()) {
                let until = crate::clock::rfc3339(std::time::Duration::from_secs(until));
                text.push_str(&format!("; receiving is disabled at {until}"));
            }
            text
        }
        Event::QuotaDrift { account, known, counted } => format!(
            "the usage of {} was known wrongly and is put right: octets {} instead of {}, messages {} instead of {}",
            clean(account),
            counted.0,
            known.0,
            counted.1,
            known.1
        ),
        Event::Fault { account, what, session } => {
            let mut text = line(what);
            if !account.is_empty() {
                text.push_str("; account=");
                text.push_str(&clean(account));
            }
            if !session.is_empty() {
                text.push_str("; session=");
                text.push_str(&clean(session));
            }
            text
        }
        Event::TaskPanicked { task, message } => format!(
            "task {task} panicked: {}. Its session has ended, others are not harmed. Please report this",
            line(message)
        ),
        Event::Message { target, text, .. } if target.is_empty() => line(text),
        Event::Message { target, text, .. } => format!("{target}: {}", line(text)),
    }
}

fn id(delivery: &Delivery) -> String {
    delivery.message_id.as_deref().map_or_else(|| "a message without Message-ID".to_owned(), line)
}

fn of(delivery: &Delivery) -> String {
    let Delivery { service, session, sender, size, .. } = delivery;
    format!("{service} sender=<{}> size={size} session={}", clean(sender), clean(session))
}

fn about(from: &Origin) -> String {
    let how = match from.transport {
        Transport::Tls => " tls",
        Transport::Loopback => " loopback",
        Transport::Plain => "",
    };
    format!("{} from={} to={}{how} session={}", from.service, from.remote, from.local, from.session)
}
