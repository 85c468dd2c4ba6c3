//! App passwords: made by us, twenty letters and digits in groups, a hundred bits of chance.
//!
//! So much chance needs no slow hash: PLAIN compares a salted SHA-256. For SCRAM each is kept under the salt and the
//! iterations of the account's own password, so that one exchange can prove any of them and the account needs not be known
//! before SCRAM is offered. People type them with the dashes or without: both are kept.

use crate::scheme::Stored;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use culver_directory::AppPassword;
use culver_sasl::scram;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// No letter or digit that looks like another one.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const GROUPS: usize = 5;
const GROUP: usize = 4;

/// A new one, as it is shown to the user; `None` when the system gives no randomness.
pub fn generate() -> Option<String> {
    let mut random = [0; GROUPS * GROUP];
    getrandom::fill(&mut random).ok()?;
    // 32 letters: five bits of each octet, none more likely than others.
    let letters: Vec<char> = random.iter().map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect();
    Some(letters.chunks(GROUP).map(String::from_iter).collect::<Vec<_>>().join("-"))
}

/// What is stored of one. `own` is the account's own password, or another app password of it, as stored.
pub fn stored(
    device: &str,
    shown: &str,
    own: Option<&scram::Stored>,
    services: Vec<String>,
    now: i64,
) -> Option<AppPassword> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).ok()?;
    let plain = bare(shown.as_bytes())?;
    let digest = Sha256::new().chain_update(&plain).chain_update(salt).finalize();
    let password = format!("{{SSHA256}}{}", STANDARD.encode([&digest[..], &salt].concat()));
    let first = match own {
        Some(own) => own.derive_like(shown.as_bytes()),
        None => scram::Stored::derive(scram::Hash::Sha256, shown.as_bytes(), &salt, scram::ITERATIONS),
    };
    let second = first.derive_like(plain.as_bytes());
    let scram = vec![first.to_text(), second.to_text()];
    Some(AppPassword { device: device.to_owned(), password, scram, services, created: now, used: None })
}

/// The letters of one, whatever stands between them; `None` when it cannot be one.
fn bare(typed: &[u8]) -> Option<String> {
    let letters = typed.iter().filter(|b| !matches!(b, b'-' | b' ')).map(u8::to_ascii_lowercase);
    let letters: Vec<u8> = letters.take(GROUPS * GROUP + 1).collect();
    let fits = letters.len() == GROUPS * GROUP && letters.iter().all(|b| ALPHABET.contains(b));
    fits.then(|| String::from_utf8(letters).ok())?
}

/// Can this be one?
pub(crate) fn can_be(typed: &[u8]) -> bool {
    bare(typed).is_some()
}

/// Which of them is it?
pub(crate) fn which<'a>(all: &'a [AppPassword], typed: &[u8]) -> Option<&'a AppPassword> {
    let plain = bare(typed)?;
    let right = |p: &&AppPassword| {
        Stored::parse(&p.password).is_ok_and(|s| s.verify(plain.as_bytes(), "") == Ok(true))
    };
    all.iter().find(right)
}

/// The forms for SCRAM, each with the number of its app password.
pub(crate) fn for_scram(all: &[AppPassword]) -> Vec<(usize, scram::Stored)> {
    let forms = all.iter().enumerate().flat_map(|(index, p)| p.scram.iter().map(move |text| (index, text)));
    forms
        .filter_map(|(index, text)| Some((index, scram::Stored::parse(scram::Hash::Sha256, text)?)))
        .collect()
}

/// A use is written at most so often for each app password.
const OFTEN: Duration = Duration::from_secs(60);
/// Uses that are remembered.
const REMEMBERED: usize = 50_000;

/// Which app password: account and device.
type Key = (String, String);

/// Last uses that are not written yet.
#[derive(Default)]
pub(crate) struct Uses {
    tables: Mutex<Tables>,
    some: Notify,
}

#[derive(Default)]
struct Tables {
    noted: HashMap<Key, Instant>,
    waiting: HashMap<Key, (i64, String)>,
}

impl Uses {
    /// It was used now.
    pub fn note(&self, account: &str, device: &str, at: i64, address: String, now: Instant) {
        let key = (account.to_owned(), device.to_owned());
        let mut tables = self.tables.lock();
        if tables.noted.get(&key).is_some_and(|last| now.saturating_duration_since(*last) < OFTEN) {
            return;
        }
        if tables.noted.len() >= REMEMBERED {
            tables.noted.clear();
        }
        tables.noted.insert(key.clone(), now);
        if tables.waiting.len() < REMEMBERED {
            tables.waiting.insert(key, (at, address));
        }
        drop(tables);
        self.some.notify_one();
    }

    /// Waits until there are some.
    pub async fn some(&self) {
        self.some.notified().await;
    }

    /// Those that wait.
    pub fn take(&self) -> Vec<(Key, (i64, String))> {
        self.tables.lock().waiting.drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed_in_many_ways() {
        let shown = generate().unwrap();
        assert_eq!(shown.len(), 24);
        assert_ne!(Some(&shown), generate().as_ref());
        let one = stored("Phone", &shown, None, Vec::new(), 7).unwrap();
        let all = [stored("Other", &generate().unwrap(), None, Vec::new(), 7).unwrap(), one];
        for typed in [shown.clone(), shown.to_uppercase(), shown.replace('-', ""), shown.replace('-', " ")] {
            assert_eq!(which(&all, typed.as_bytes()).map(|p| p.device.as_str()), Some("Phone"), "{typed}");
        }
        for typed in [
            "",
            "secret",
            &shown[..23],
            &format!("{shown}a"),
            &shown.replace('-', "1"),
            "aaaa-aaaa-aaaa-aaaa-aaaa",
        ] {
            assert!(which(&all, typed.as_bytes()).is_none(), "{typed}");
        }
        let forms = for_scram(&all);
        assert_eq!(forms.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 0, 1, 1]);
        assert!(forms[2].1.verify(shown.as_bytes()) && forms[3].1.verify(shown.replace('-', "").as_bytes()));
    }

    #[test]
    fn a_use_is_noted_once_a_minute() {
        let (uses, now) = (Uses::default(), Instant::now());
        let note =
            |device: &str, at, now| uses.note("a@example.com", device, at, "192.0.2.1".to_owned(), now);
        note("Phone", 1, now);
        note("Phone", 2, now + Duration::from_secs(59));
        note("Tablet", 3, now);
        let mut taken = uses.take();
        taken.sort();
        assert_eq!(
            taken.iter().map(|((_, device), (at, _))| (device.as_str(), *at)).collect::<Vec<_>>(),
            [("Phone", 1), ("Tablet", 3)]
        );
        assert!(uses.take().is_empty());
        note("Phone", 60, now + Duration::from_secs(60));
        assert_eq!(uses.take().len(), 1);
    }
}
