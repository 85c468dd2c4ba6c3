//! What server and helper say to each other: lines, fields between tabs.
//!
//! A question begins with a number, which its answer repeats; answers come in any order. Tabs, line feeds and backslashes within
//! a field are written as in Dovecot's protocols, with a backslash before.

use std::net::IpAddr;

/// The longest line of a question.
pub const LONGEST_QUESTION: usize = 16 << 10;
/// The longest line of an answer: the names of everybody.
pub const LONGEST_ANSWER: usize = 16 << 20;

/// What the server asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Question {
    /// Is the password right, and may the account be used?
    Password {
        /// The PAM service, one of those that the helper was started for.
        service: String,
        /// The user.
        user: String,
        /// The password.
        password: Vec<u8>,
        /// The client's address, where there is one.
        remote: Option<IpAddr>,
    },
    /// Who is this?
    User {
        /// The name.
        name: String,
    },
    /// Who is there?
    Users {
        /// With this uid at least.
        least: u32,
    },
}

/// What the helper answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The password is right.
    Right,
    /// It is wrong, or there is no such user.
    Wrong,
    /// It has expired.
    Expired,
    /// The account may not be used.
    Disabled {
        /// Why.
        reason: String,
    },
    /// A user.
    User {
        /// The uid.
        uid: u32,
        /// The gid.
        gid: u32,
        /// The home.
        home: String,
    },
    /// There is none of that name.
    Unknown,
    /// The names of all.
    Users(Vec<String>),
    /// That cannot be known now.
    Outage {
        /// Why, and what may be done.
        why: String,
    },
}

fn escape(octets: &[u8], out: &mut Vec<u8>) {
    for octet in octets {
        match octet {
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            0 => out.extend(b"\\0"),
            b'\\' => out.extend(b"\\\\"),
            other => out.push(*other),
        }
    }
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut octets = field.iter();
    while let Some(octet) = octets.next() {
        out.push(match octet {
            b'\\' => match octets.next() {
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b'0') => 0,
                Some(other) => *other,
                None => break,
            },
            other => *other,
        });
    }
    out
}

fn line(id: u64, fields: &[&[u8]]) -> Vec<u8> {
    let mut out = id.to_string().into_bytes();
    for field in fields {
        out.push(b'\t');
        escape(field, &mut out);
    }
    out.push(b'\n');
    out
}

/// The fields of a line without its end, after the number.
fn split(line: &[u8]) -> Option<(u64, Vec<Vec<u8>>)> {
    let mut fields = line.split(|octet| *octet == b'\t');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    Some((id, fields.map(unescape).collect()))
}

fn text(field: &[u8]) -> Option<String> {
    String::from_utf8(field.to_vec()).ok()
}

impl Question {
    /// As a line.
    pub fn encode(&self, id: u64) -> Vec<u8> {
        match self {
            Self::Password { service, user, password, remote } => {
                let remote = remote.map(|ip| ip.to_string()).unwrap_or_default();
                line(id, &[b"password", service.as_bytes(), user.as_bytes(), password, remote.as_bytes()])
            }
            Self::User { name } => line(id, &[b"user", name.as_bytes()]),
            Self::Users { least } => line(id, &[b"users", least.to_string().as_bytes()]),
        }
    }

    /// From a line without its end; the number as far as there is one.
    pub fn parse(line: &[u8]) -> Option<(u64, Self)> {
        let (id, fields) = split(line)?;
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let question = match fields[..] {
            [b"password", service, user, password, remote] => {
                let remote = if remote.is_empty() { None } else { Some(text(remote)?.parse().ok()?) };
                let (service, user) = (text(service)?, text(user)?);
                Self::Password { service, user, password: password.to_vec(), remote }
            }
            [b"user", name] => Self::User { name: text(name)? },
            [b"users", least] => Self::Users { least: text(least)?.parse().ok()? },
            _ => return None,
        };
        Some((id, question))
    }
}

impl Answer {
    /// As a line.
    pub fn encode(&self, id: u64) -> Vec<u8> {
        match self {
            Self::Right => line(id, &[b"right"]),
            Self::Wrong => line(id, &[b"wrong"]),
            Self::Expired => line(id, &[b"expired"]),
            Self::Disabled { reason } => line(id, &[b"disabled", reason.as_bytes()]),
            Self::User { uid, gid, home } => {
                line(id, &[b"user", uid.to_string().as_bytes(), gid.to_string().as_bytes(), home.as_bytes()])
            }
            Self::Unknown => line(id, &[b"unknown"]),
            Self::Users(names) => {
                let names = names.iter().map(String::as_bytes);
                line(id, &[&b"users"[..]].into_iter().chain(names).collect::<Vec<_>>())
            }
            Self::Outage { why } => line(id, &[b"outage", why.as_bytes()]),
        }
    }

    /// From a line without its end.
    pub fn parse(line: &[u8]) -> Option<(u64, Self)> {
        let (id, fields) = split(line)?;
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let answer = match fields[..] {
            [b"right"] => Self::Right,
            [b"wrong"] => Self::Wrong,
            [b"expired"] => Self::Expired,
            [b"disabled", reason] => Self::Disabled { reason: text(reason)? },
            [b"user", uid, gid, home] => {
                Self::User { uid: text(uid)?.parse().ok()?, gid: text(gid)?.parse().ok()?, home: text(home)? }
            }
            [b"unknown"] => Self::Unknown,
            [b"users", ref names @ ..] => {
                Self::Users(names.iter().map(|name| text(name)).collect::<Option<_>>()?)
            }
            [b"outage", why] => Self::Outage { why: text(why)? },
            _ => return None,
        };
        Some((id, answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let (service, user) = ("culver".to_owned(), "anna".to_owned());
        let password = b"a\tb\\c\0".to_vec();
        let remote = Some("2001:db8::1".parse().unwrap());
        let question = Question::Password { service, user, password, remote };
        assert_eq!(question.encode(7), b"7\tpassword\tculver\tanna\ta\\tb\\\\c\\0\t2001:db8::1\n");
        assert_eq!(Answer::Users(vec!["a".to_owned()]).encode(8), b"8\tusers\ta\n");
        for line in [&b""[..], b"x\tright", b"1", b"1\twrong\tmore", b"1\tuser\t-1\t0\t/", b"-1\tright"] {
            assert_eq!(Answer::parse(line), None);
        }
        for line in [
            &b"1\tusers\tall"[..],
            b"1\tpassword\ta\tb\tc",
            b"1\tpassword\ta\tb\tc\thost",
            b"1\tuser\t\xff",
            b"2\texec\tx",
        ] {
            assert!(Question::parse(line).is_none());
        }
    }

    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn what_is_written_is_read(user in "\\PC{0,9}[\t\n\\\\]?", password in proptest::collection::vec(any::<u8>(), 0..20), remote: Option<IpAddr>, id: u64) {
            let question = Question::Password { service: "s".to_owned(), user: user.clone(), password, remote };
            let line = question.encode(id);
            prop_assert_eq!(line.iter().filter(|o| **o == b'\n').count(), 1);
            prop_assert!(Question::parse(&line[..line.len() - 1]) == Some((id, question)));
            for question in [Question::User { name: user.clone() }, Question::Users { least: 7 }] {
                let line = question.encode(id);
                prop_assert!(Question::parse(&line[..line.len() - 1]) == Some((id, question)));
            }
            for answer in [
                Answer::Users(vec![user.clone(), "b".to_owned()]),
                Answer::User { uid: 1, gid: 2, home: user.clone() },
                Answer::Outage { why: user.clone() },
                Answer::Disabled { reason: user },
                Answer::Users(Vec::new()),
            ] {
                let line = answer.encode(id);
                prop_assert_eq!(Answer::parse(&line[..line.len() - 1]), Some((id, answer)));
            }
        }

        #[test]
        fn no_line_does_harm(line in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (Question::parse(&line), Answer::parse(&line));
        }
    }
}
