//! The parameters of AUTH as the client behind the client: whose address it has, and what hides its bytes.
//!
//! Addresses and ports that cannot be read are as if they were missing, as with Dovecot.

use culver_auth::{Delay, Peer, Secured};
use culver_auth_protocol::Fields;
use std::net::{IpAddr, SocketAddr};

/// Services as logs name them.
const SERVICES: [&str; 14] = [
    "smtp",
    "smtps",
    "submission",
    "submissions",
    "imap",
    "imaps",
    "pop3",
    "pop3s",
    "lmtp",
    "sieve",
    "ftp",
    "ssh",
    "http",
    "doveadm",
];

/// The name of a service, where it is a known one: names in the log are our own words.
pub fn service(name: &str) -> &'static str {
    SERVICES.into_iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or("auth")
}

/// Is it for sending mail? Then an account must be allowed to.
pub fn sends(service: &str) -> bool {
    ["smtp", "smtps", "submission", "submissions"].iter().any(|s| s.eq_ignore_ascii_case(service))
}

/// Who is behind an exchange. `ends` are the addresses of the client that asks, and ours.
pub fn peer(ends: (SocketAddr, SocketAddr), name: &str, fields: &Fields, session: String) -> Peer {
    let address = |ip: &str, port: &str, otherwise: SocketAddr| {
        let port = fields.get(port).and_then(|p| p.parse().ok());
        match fields.get(ip).and_then(|ip| ip.parse::<IpAddr>().ok()) {
            Some(ip) => SocketAddr::new(ip.to_canonical(), port.unwrap_or(0)),
            None => otherwise,
        }
    };
    let remote = address("rip", "rport", ends.0);
    let local = address("lip", "lport", ends.1);
    let secured = if fields.has("secured") {
        Secured::Tls
    } else if remote.ip().is_loopback() || remote.ip() == local.ip() {
        Secured::Loopback
    } else {
        Secured::No
    };
    let given = fields.get("session").filter(|s| (1..=64).contains(&s.len()));
    let given = given.filter(|s| s.bytes().all(|b| b.is_ascii_graphic()));
    let session = given.map_or(session, str::to_owned);
    let certificate = fields.get("cert_username").filter(|_| fields.has("valid-client-cert"));
    let certificate = certificate.map(str::to_owned);
    Peer { remote, local, secured, service: service(name), session, certificate }
}

/// How its failures wait.
pub fn delay(fields: &Fields) -> Delay {
    let counted =
        !fields.has("no-penalty") && fields.get("rip").is_some_and(|ip| ip.parse::<IpAddr>().is_ok());
    Delay { at_most: crate::service::LONGEST_DELAY, counted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_delays() {
        assert_eq!((service("smtp"), service("SMTP"), service("x\ny")), ("smtp", "smtp", "auth"));
        assert!(sends("smtp") && sends("Submission") && !sends("imap"));
        let counted = |text: &str| delay(&Fields::parse(text)).counted;
        assert!(counted("rip=192.0.2.1"));
        assert!(!counted("rip=192.0.2.1\tno-penalty") && !counted("rip=x") && !counted("service=ftp"));
    }
}
