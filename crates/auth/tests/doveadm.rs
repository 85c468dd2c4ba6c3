//! Password schemes against an installed Dovecot: what it makes verifies here, what is made here verifies there.

#![allow(clippy::unwrap_used)]

use culver_auth::scheme::{Make, Stored, make};
use std::process::Command;

const USER: &str = "anna@example.com";
const PASSWORD: &str = "secret with sp\u{e4}ce";

/// What `doveadm pw` answers; `None` when it fails.
fn doveadm(arguments: &[&str]) -> Option<String> {
    let output = Command::new("doveadm").arg("pw").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn what_dovecot_makes_verifies_here() {
    let Some(schemes) = doveadm(&["-l"]) else {
        println!("not run: doveadm is missing");
        return;
    };
    let mut tried = 0;
    // OTP is no password scheme in our sense: each answer is used once.
    for scheme in schemes.split_whitespace().filter(|s| *s != "OTP") {
        for scheme in [scheme.to_owned(), format!("{scheme}.b64"), format!("{scheme}.hex")] {
            let Some(text) = doveadm(&["-s", &scheme, "-u", USER, "-p", PASSWORD]) else { continue };
            let stored = Stored::parse(&text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(stored.verify(PASSWORD.as_bytes(), USER), Ok(true), "{text}");
            assert_eq!(stored.verify(b"another", USER), Ok(false), "{text}");
            tried += 1;
        }
    }
    assert!(tried >= 60, "{tried} of {schemes}");
}

#[test]
fn what_is_made_here_verifies_in_dovecot() {
    if doveadm(&["-l"]).is_none() {
        println!("not run: doveadm is missing");
        return;
    }
    for how in [Make::ScramSha256, Make::Argon2id, Make::Sha512Crypt, Make::BlfCrypt, Make::Plain] {
        let text = make(how, PASSWORD).unwrap();
        let verdict = doveadm(&["-t", &text, "-u", USER, "-p", PASSWORD]);
        assert!(verdict.is_some_and(|v| v.ends_with("(verified)")), "{text}");
        assert_eq!(doveadm(&["-t", &text, "-u", USER, "-p", "another"]), None, "{text}");
    }
}
