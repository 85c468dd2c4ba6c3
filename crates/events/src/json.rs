//! The rendering for machines: one JSON object a line.
//!
//! Every object has `time` (RFC 3339, UTC), `level`, `event` and `text` (the plain rendering); those about a
//! connection have `service`, `session`, `remote`, `local` and `transport`; further members belong to the event.

use crate::clock::rfc3339;
use crate::event::{Delivery, Event, Transport};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The line.
pub fn render(event: &Event, at: Duration) -> String {
    let mut object = Map::new();
    object.insert("time".into(), rfc3339(at).into());
    object.insert("level".into(), event.level().name().into());
    object.insert("event".into(), event.name().into());
    object.insert("text".into(), crate::plain::render(event).into());
    if let Some(from) = event.origin() {
        object.insert("service".into(), from.service.into());
        object.insert("session".into(), from.session.clone().into());
        object.insert("remote".into(), from.remote.to_string().into());
        object.insert("local".into(), from.local.to_string().into());
        let transport = match from.transport {
            Transport::Plain => "plain",
            Transport::Loopback => "loopback",
            Transport::Tls => "tls",
        };
        object.insert("transport".into(), transport.into());
    }
    if let Value::Object(own) = own(event) {
        object.extend(own);
    }
    Value::Object(object).to_string()
}

fn own(event: &Event) -> Value {
    match event {
        Event::Started { version, listeners } => json!({"version": version, "listeners": listeners}),
        Event::Stopping { sessions } => json!({"sessions": sessions}),
        Event::Stopped { cut } => json!({"cut": cut}),
        Event::Reloaded { need_restart } => json!({"need_restart": need_restart}),
        Event::CertificatesLoaded { names } => json!({"names": names}),
        Event::CertificateProblem { file, why } => json!({"file": file, "why": why}),
        Event::AcceptFailed { listener, why } => json!({"listener": listener, "why": why}),
        Event::ReloadFailed { why } | Event::HandshakeFailed { why, .. } => json!({"why": why}),
        Event::Login { account, method, .. } => json!({"account": account, "method": method}),
        Event::LoginAs { account, by, .. } => json!({"account": account, "by": by}),
        Event::SessionsNearLimit { account, open, limit, .. } => {
            json!({"account": account, "open": open, "limit": limit})
        }
        Event::Blocked { network, account, guesses, seconds, .. } => json!({
            "network": network.to_string(), "account": account, "guesses": guesses, "seconds": seconds,
        }),
        Event::LoginFailed { attempt, .. } => json!({
            "user": attempt.user, "method": attempt.method, "reason": attempt.reason,
            "attempts": attempt.attempts, "elapsed_ms": attempt.elapsed.as_millis() as u64,
        }),
        Event::PasswordRehashed { account, scheme } => json!({"account": account, "scheme": scheme}),
        Event::WeakPassword { account, scheme } => json!({"account": account, "scheme": scheme}),
        Event::SessionEnded { account, why, received, sent, .. } => {
            json!({"account": account, "why": why, "received": received, "sent": sent})
        }
        Event::MaildropClosed { account, why, counts: c, .. } => json!({
            "account": account, "why": why, "top": c.top, "top_octets": c.top_octets, "retr": c.retr,
            "retr_octets": c.retr_octets, "deleted": c.deleted, "messages": c.messages, "octets": c.octets
        }),
        Event::Delivered { delivery, mailbox } => with(delivery, "mailbox", mailbox),
        Event::Forwarded { delivery, to } => with(delivery, "to", to),
        Event::DeliveryFailed { delivery, why } => with(delivery, "why", why),
        Event::Repaired { account, mailbox, file, why } => {
            json!({"account": account, "mailbox": mailbox, "file": file, "why": why})
        }
        Event::Quota { account, step, percent, storage, messages, until } => json!({
            "account": account, "step": step, "percent": percent, "storage": storage, "messages": messages,
            "until": until,
        }),
        Event::QuotaDrift { account, known, counted } => json!({
            "account": account, "known": {"storage": known.0, "messages": known.1},
            "counted": {"storage": counted.0, "messages": counted.1},
        }),
        Event::Fault { account, what, session } => {
            json!({"account": account, "what": what, "session": session})
        }
        Event::TaskPanicked { task, message } => json!({"task": task, "message": message}),
        Event::Message { target, .. } => json!({"target": target}),
    }
}

fn with(delivery: &Delivery, name: &str, value: &str) -> Value {
    let Delivery { service, session, account, message_id, sender, size } = delivery;
    json!({
        "service": service, "session": session, "account": account, "message_id": message_id, "sender": sender,
        "size": size, name: value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Attempt, Origin};

    #[test]
    fn one_line_that_parses_whatever_the_client_sent() {
        let attempt = Attempt {
            user: "a\"\r\n\u{0}<>".to_owned(),
            method: "LOGIN".to_owned(),
            reason: "unknown user".to_owned(),
            attempts: 3,
            elapsed: Duration::from_millis(1500),
        };
        let from = Origin {
            service: "imap",
            remote: "[::1]:1".parse().unwrap(),
            local: "[::1]:143".parse().unwrap(),
            transport: Transport::Loopback,
            session: "s".to_owned(),
        };
        let line = render(&Event::LoginFailed { attempt, from }, Duration::ZERO);
        assert!(!line.contains('\n'));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], "login-failed");
        assert_eq!(value["user"], "a\"\r\n\u{0}<>");
        assert_eq!(value["remote"], "[::1]:1");
        assert_eq!(value["elapsed_ms"], 1500);
        assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
    }
}
