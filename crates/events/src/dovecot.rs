//! The rendering in Dovecot's words, for programs that parse its log: fail2ban, pflogsumm, panels.
//!
//! Logins, failed logins and the ends of sessions are written as Dovecot 2.3 writes them
//! (`login_log_format_elements`, `imap_logout_format`); all else is plain text behind `culver: `. The shapes:
//!
//! ```text
//! imap-login: Login: user=<u>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9, mpid=77, TLS, session=<id>
//! imap-login: Disconnected: Auth failed (auth failed, 1 attempts in 2 secs): user=<u>, method=PLAIN, rip=.., lip=..
//! imap-login: Disconnected: Inactivity (no auth attempts in 60 secs): user=<>, rip=.., lip=..
//! imap(u)<77><id>: Disconnected: Logged out in=12 out=345
//! pop3(u)<77><id>: Disconnected: Logged out top=0/0, retr=1/1234, del=1/3, size=4321
//! ```
//!
//! A failed login is one line each, when it happens, also when the client may try again on the same connection:
//! fail2ban counts lines.

use crate::event::{Delivery, Event, Origin, Transport};
use crate::text::{clean, line};
use std::fmt::Write as _;

/// The text of a line, without time.
pub fn render(event: &Event) -> String {
    match event {
        Event::Login { account, method, from } => {
            let mut out =
                format!("{}-login: Login: user=<{}>, method={}", from.service, clean(account), word(method));
            addresses(&mut out, from);
            let _ = write!(out, ", mpid={}", std::process::id());
            ending(&mut out, from);
            out
        }
        Event::LoginFailed { attempt, from } => {
            let mut out = format!(
                "{}-login: Disconnected: Auth failed (auth failed, {} attempts in {} secs): user=<{}>, method={}",
                from.service,
                attempt.attempts,
                attempt.elapsed.as_secs(),
                clean(&attempt.user),
                word(&attempt.method)
            );
            addresses(&mut out, from);
            ending(&mut out, from);
            out
        }
        Event::SessionEnded { account: None, why, from, .. } => {
            let why = reason(why);
            let mut out = format!("{}-login: Disconnected: {why} (no auth attempts): user=<>", from.service);
            addresses(&mut out, from);
            ending(&mut out, from);
            out
        }
        Event::SessionEnded { account: Some(account), why, received, sent, from } => {
            let why = line(why);
            let why = if why == "Logged out" { why } else { format!("Disconnected: {why}") };
            let (service, pid) = (from.service, std::process::id());
            format!("{service}({})<{pid}><{}>: {why} in={received} out={sent}", clean(account), from.session)
        }
        Event::MaildropClosed { account, why, counts: c, from } => format!(
            "{}({})<{}><{}>: Disconnected: {} top={}/{}, retr={}/{}, del={}/{}, size={}",
            from.service,
            clean(account),
            std::process::id(),
            from.session,
            line(why),
            c.top,
            c.top_octets,
            c.retr,
            c.retr_octets,
            c.deleted,
            c.messages,
            c.octets
        ),
        Event::HandshakeFailed { from, why } => {
            let why = reason(why);
            let mut out = format!(
                "{}-login: Disconnected: {why} (disconnected before auth was ready, waited 0 secs): user=<>",
                from.service
            );
            addresses(&mut out, from);
            out.push_str(", TLS handshaking");
            let _ = write!(out, ", session=<{}>", from.session);
            out
        }
        Event::Delivered { delivery, mailbox } => {
            format!("{}: saved mail to {}", delivered(delivery), line(mailbox))
        }
        Event::Forwarded { delivery, to } => format!("{}: forwarded to <{}>", delivered(delivery), clean(to)),
        Event::DeliveryFailed { delivery, why } => {
            format!("{}: save failed to INBOX: {}", delivered(delivery), line(why))
        }
        other => format!("culver: {}", crate::plain::render(other)),
    }
}

/// `deliver_log_format = msgid=%m: %$` behind the prefix of the process.
fn delivered(delivery: &Delivery) -> String {
    let (service, pid) = (delivery.service, std::process::id());
    let id = delivery.message_id.as_deref().map_or_else(|| "unspecified".to_owned(), line);
    format!("{service}({})<{pid}><{}>: msgid={id}", clean(&delivery.account), clean(&delivery.session))
}

fn addresses(out: &mut String, from: &Origin) {
    let _ = write!(out, ", rip={}, lip={}", from.remote.ip(), from.local.ip());
}

fn ending(out: &mut String, from: &Origin) {
    match from.transport {
        Transport::Tls => out.push_str(", TLS"),
        Transport::Loopback => out.push_str(", secured"),
        Transport::Plain => {}
    }
    let _ = write!(out, ", session=<{}>", from.session);
}

/// One word: a method with blanks in it would end the pattern.
fn word(text: &str) -> String {
    clean(text).split_whitespace().collect()
}

/// A reason that holds no bracket: the pattern looks for the first one.
fn reason(text: &str) -> String {
    clean(text).replace(['(', ')'], "'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Attempt, MaildropCounts};
    use std::time::Duration;

    fn origin(transport: Transport) -> Origin {
        Origin {
            service: "imap",
            remote: "192.0.2.1:50000".parse().unwrap(),
            local: "[2001:db8::9]:993".parse().unwrap(),
            transport,
            session: "Zk3x".to_owned(),
        }
    }

    fn failed(user: &str) -> Event {
        let attempt = Attempt {
            user: user.to_owned(),
            method: "PLAIN".to_owned(),
            reason: "password mismatch".to_owned(),
            attempts: 1,
            elapsed: Duration::from_secs(2),
        };
        Event::LoginFailed { attempt, from: origin(Transport::Plain) }
    }

    /// The shapes of features that other programs parse.
    #[test]
    fn shapes() {
        let pid = std::process::id();
        assert_eq!(
            render(&Event::login("u@example.org", "PLAIN", origin(Transport::Tls))),
            format!(
                "imap-login: Login: user=<u@example.org>, method=PLAIN, rip=192.0.2.1, lip=2001:db8::9, \
                 mpid={pid}, TLS, session=<Zk3x>"
            )
        );
        assert_eq!(
            render(&failed("u@example.org")),
            "imap-login: Disconnected: Auth failed (auth failed, 1 attempts in 2 secs): user=<u@example.org>, \
             method=PLAIN, rip=192.0.2.1, lip=2001:db8::9, session=<Zk3x>"
        );
        let ended = |account| Event::session_ended(account, "Logged out", 12, 345, origin(Transport::Tls));
        assert_eq!(
            render(&ended(Some("u@example.org".to_owned()))),
            format!("imap(u@example.org)<{pid}><Zk3x>: Logged out in=12 out=345")
        );
        assert!(
            render(&ended(None))
                .starts_with("imap-login: Disconnected: Logged out (no auth attempts): user=<>, rip=")
        );
    }

    /// `deliver_log_format` as Dovecot 2.3.19 prints it: `lmtp(u)<pid><id>: msgid=<x@y>: saved mail to INBOX`.
    #[test]
    fn deliveries() {
        let pid = std::process::id();
        let delivery = |id: Option<&str>| Delivery {
            service: "lmtp",
            session: "Zk3x".to_owned(),
            account: "u@example.org".to_owned(),
            message_id: id.map(str::to_owned),
            sender: "s@example.com".to_owned(),
            size: 7,
        };
        let saved =
            |id, mailbox: &str| Event::Delivered { delivery: delivery(id), mailbox: mailbox.to_owned() };
        assert_eq!(
            render(&saved(Some("<1@x>"), "INBOX")),
            format!("lmtp(u@example.org)<{pid}><Zk3x>: msgid=<1@x>: saved mail to INBOX")
        );
        assert!(render(&saved(None, "INBOX")).ends_with(": msgid=unspecified: saved mail to INBOX"));
        assert!(!render(&saved(Some("<1@x>\r\nlmtp(root)"), "a\nb")).contains('\n'));
        let failed = Event::DeliveryFailed { delivery: delivery(None), why: "452 4.2.2 full".to_owned() };
        assert!(render(&failed).ends_with(": msgid=unspecified: save failed to INBOX: 452 4.2.2 full"));
        let forwarded = Event::Forwarded { delivery: delivery(None), to: "x@y".to_owned() };
        assert!(render(&forwarded).ends_with(": forwarded to <x@y>"));
    }

    /// As Dovecot 2.3.19 wrote it.
    #[test]
    fn the_end_of_a_pop3_session() {
        let counts = MaildropCounts {
            top: 2,
            top_octets: 62,
            retr: 3,
            retr_octets: 133,
            deleted: 1,
            messages: 3,
            octets: 83,
        };
        let from = Origin { service: "pop3", ..origin(Transport::Tls) };
        let event = Event::MaildropClosed { account: "a@b.c".into(), why: "Logged out".into(), counts, from };
        let pid = std::process::id();
        assert_eq!(
            render(&event),
            format!(
                "pop3(a@b.c)<{pid}><Zk3x>: Disconnected: Logged out top=2/62, retr=3/133, del=1/3, size=83"
            )
        );
    }

    /// A client cannot make a line that blames somebody else: there is one `rip=` that stands outside of `user=<>`.
    #[test]
    fn names_cannot_forge_addresses() {
        let line = render(&failed("x>, method=PLAIN, rip=203.0.113.7, session=<y\r\nimap-login: Login"));
        assert!(!line.contains('\n'));
        let after = line.split_once("user=<").unwrap().1.split_once('>').unwrap().1;
        assert!(after.starts_with(", method=PLAIN, rip=192.0.2.1, lip="), "{line}");
    }

    /// fail2ban's own pattern, when its package's file is there: `filter.d/dovecot.conf` of Debian, quoted in essence in
    /// `tests/fail2ban.py`, run by Python because the pattern uses look-arounds.
    #[test]
    fn fail2ban_finds_failed_logins_and_nothing_else() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fail2ban.py");
        let lines = [
            render(&failed("u@example.org")),
            render(&failed("")),
            render(&failed("x>, rip=203.0.113.7")),
            render(&Event::login("u", "PLAIN", origin(Transport::Tls))),
            render(&Event::session_ended(None, "Inactivity", 0, 0, origin(Transport::Plain))),
            render(&failed("u@example.org")).replace("imap-login", "pop3-login"),
        ];
        let mut input = String::new();
        for line in &lines {
            let _ = writeln!(input, "2026-11-23T18:04:05.000Z mail dovecot: {line}");
        }
        let mut child = match std::process::Command::new("python3")
            .arg(script)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(_) => {
                println!("not run: python3 is missing");
                return;
            }
        };
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let found = String::from_utf8(out.stdout).unwrap();
        assert_eq!(found, "192.0.2.1\n192.0.2.1\n192.0.2.1\n-\n-\n192.0.2.1\n");
    }
}
