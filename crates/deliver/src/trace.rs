//! The envelope, and what is put before a message because of it: Return-Path, Delivered-To, Received (RFC 5321 §4.4).

use crate::date;
use culver_lmtp::{Body, ReversePath};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// Which messages get a Delivered-To field.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum DeliveredTo {
    /// Those with one recipient. The others are the same for all, so that they can be links to one file.
    #[default]
    Single,
    /// All.
    Always,
    /// None.
    Never,
}

/// What is known of a message beside its octets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// How it came, for the log: `lmtp` or `lda`.
    pub service: &'static str,
    /// The session's id.
    pub session: String,
    /// The sender.
    pub sender: ReversePath,
    /// What kind of octets it has.
    pub body: Body,
    /// Was SMTPUTF8 asked for?
    pub utf8: bool,
    /// How the peer called itself; `None` when there was no peer.
    pub helo: Option<String>,
    /// From where; `None` for the machine itself.
    pub peer: Option<IpAddr>,
    /// Came it by TLS?
    pub tls: bool,
    /// When.
    pub at: Duration,
}

impl Envelope {
    /// Return-Path, for final delivery.
    pub fn return_path(&self) -> String {
        format!("Return-Path: <{}>\r\n", self.sender)
    }

    /// Received, by the host of this name.
    pub fn received(&self, host: &str) -> String {
        let mut out = String::from("Received: ");
        if let Some(helo) = &self.helo {
            let _ = write!(out, "from {}", word(helo));
            match self.peer {
                Some(IpAddr::V4(ip)) => _ = write!(out, " ([{ip}])"),
                Some(IpAddr::V6(ip)) => _ = write!(out, " ([IPv6:{ip}])"),
                None => {}
            }
            out.push_str("\r\n\t");
        }
        // RFC 3848 and RFC 6531 §4.3: the registered names of protocols.
        let with = match (self.helo.is_some(), self.utf8, self.tls) {
            (false, ..) => "local",
            (_, false, false) => "LMTP",
            (_, false, true) => "LMTPS",
            (_, true, false) => "UTF8LMTP",
            (_, true, true) => "UTF8LMTPS",
        };
        let (id, at) = (word(&self.session), date::rfc5322(self.at));
        let _ = write!(out, "by {} with {with} id {id};\r\n\t{at}\r\n", word(host));
        out
    }
}

/// Delivered-To.
pub fn delivered_to(address: &str) -> String {
    format!("Delivered-To: {}\r\n", address.replace(char::is_control, "?"))
}

/// What others said, so that it cannot end a field or stand for a comment.
fn word(text: &str) -> String {
    let fits =
        |c: &char| !c.is_control() && !c.is_whitespace() && !matches!(c, '(' | ')' | ';' | '\\' | '<' | '>');
    text.chars().filter(fits).take(255).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use culver_lmtp::Address;

    #[test]
    fn fields() {
        let mut envelope = Envelope {
            service: "lmtp",
            session: "abc".into(),
            sender: ReversePath::Address(Address::parse("\"a b\"@example.org").unwrap()),
            body: Body::SevenBit,
            utf8: false,
            helo: Some("mx.example.org;\r\n(x)".into()),
            peer: Some("2001:db8::1".parse().unwrap()),
            tls: false,
            at: Duration::ZERO,
        };
        assert_eq!(envelope.return_path(), "Return-Path: <\"a b\"@example.org>\r\n");
        assert_eq!(
            envelope.received("mail.example.net"),
            "Received: from mx.example.orgx ([IPv6:2001:db8::1])\r\n\tby mail.example.net with LMTP id abc;\r\n\t\
             Thu, 1 Jan 1970 00:00:00 +0000\r\n"
        );
        envelope.sender = ReversePath::Null;
        (envelope.utf8, envelope.tls, envelope.peer) = (true, true, None);
        assert_eq!(envelope.return_path(), "Return-Path: <>\r\n");
        assert!(
            envelope.received("h").starts_with("Received: from mx.example.orgx\r\n\tby h with UTF8LMTPS id")
        );
    }
}
