//! SRS: senders of forwarded mail under a domain of our own, so that SPF of the sender's domain does not speak against it,
//! and the way back for bounces.
//!
//! ```text
//! user@sender.example            -> SRS0=HHHH=TT=sender.example=user@ours.example
//! SRS0=HHHH=TT=a.example=u@b.ex  -> SRS1=HHHH=b.ex==HHHH=TT=a.example=u@ours.example
//! ```
//! HHHH is a hash with a secret, without which nobody can send through us to others; TT is the day. The form, the hash and
//! the day are those of libsrs2 and postsrsd, so that one can take the other's place with the same secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use culver_lmtp::{Address, Domain};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// Characters of the hash.
const HASH: usize = 4;
/// How long bounces find their way back.
const DAYS: u64 = 21;
/// Days are counted modulo this.
const CYCLE: u64 = 1024;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Rewrites senders.
#[derive(Clone)]
pub struct Srs {
    secret: Vec<u8>,
    domain: String,
}

impl std::fmt::Debug for Srs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Srs").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Srs {
    /// Senders get this domain.
    pub fn new(secret: &str, domain: &str) -> Self {
        Self { secret: secret.as_bytes().to_vec(), domain: domain.to_owned() }
    }

    /// The sender to forward with, at this time since 1970. One without a domain, or of our domain, stays.
    pub fn forward(&self, sender: &Address, now: Duration) -> Address {
        let Some(domain) = sender.domain_name().filter(|d| !d.eq_ignore_ascii_case(&self.domain)) else {
            return sender.clone();
        };
        let local = &sender.local;
        let local = if let Some(rest) = tagged(local, "SRS0") {
            // The first forwarder's address goes along whole; only its domain is ours to vouch for.
            let hash = self.hash(&[domain, rest]);
            format!("SRS1={hash}={domain}={rest}")
        } else if let Some((first, rest)) = tagged(local, "SRS1").and_then(|r| {
            let (_, r) = r[1..].split_once('=')?;
            r.split_once('=')
        }) {
            let hash = self.hash(&[first, rest]);
            format!("SRS1={hash}={first}={rest}")
        } else {
            let day = stamp(now);
            let hash = self.hash(&[&day, domain, local]);
            format!("SRS0={hash}={day}={domain}={local}")
        };
        Address { local, domain: Some(Domain::Name(self.domain.clone())) }
    }

    /// Whom a bounce to `address` is for: `None` when it is no such address of ours; an error says why it leads nowhere.
    ///
    /// # Errors
    /// When the hash is wrong, or it is too old.
    pub fn reverse(&self, address: &Address, now: Duration) -> Option<Result<Address, &'static str>> {
        let ours = address.domain_name().is_some_and(|d| d.eq_ignore_ascii_case(&self.domain));
        let local = address.local.as_str();
        if !ours {
            return None;
        }
        if let Some(rest) = tagged(local, "SRS0") {
            return Some(self.back_to_sender(&rest[1..], now));
        }
        tagged(local, "SRS1").map(|rest| self.back_to_forwarder(&rest[1..]))
    }

    fn back_to_sender(&self, text: &str, now: Duration) -> Result<Address, &'static str> {
        let mut parts = text.splitn(4, '=');
        let mut next = || parts.next().filter(|p| !p.is_empty()).ok_or("it is no complete SRS address");
        let (hash, day, domain, local) = (next()?, next()?, next()?, next()?);
        self.check(hash, &[day, domain, local])?;
        let age = age(day, now).ok_or("its day cannot be read")?;
        if age > DAYS {
            return Err("it is too old");
        }
        Ok(Address { local: local.to_owned(), domain: Some(Domain::Name(domain.to_owned())) })
    }

    fn back_to_forwarder(&self, text: &str) -> Result<Address, &'static str> {
        let cut = || text.split_once('=').and_then(|(hash, r)| Some((hash, r.split_once('=')?)));
        let (hash, (domain, rest)) = cut().ok_or("it is no complete SRS address")?;
        self.check(hash, &[domain, rest])?;
        let local = format!("SRS0{rest}");
        Ok(Address { local, domain: Some(Domain::Name(domain.to_owned())) })
    }

    fn check(&self, hash: &str, parts: &[&str]) -> Result<(), &'static str> {
        // Some MTAs change the case of letters on the way; what is hashed is in small letters, and so is what is compared.
        let right = self.hash(parts).to_ascii_lowercase();
        let given = hash.to_ascii_lowercase();
        if bool::from(right.as_bytes().ct_eq(given.as_bytes())) { Ok(()) } else { Err("its hash is wrong") }
    }

    fn hash(&self, parts: &[&str]) -> String {
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&self.secret) else { return String::new() };
        for part in parts {
            mac.update(part.to_ascii_lowercase().as_bytes());
        }
        let mut text = STANDARD.encode(mac.finalize().into_bytes());
        text.truncate(HASH);
        text
    }
}

/// What stands behind `SRS0` or `SRS1`, with its first separator.
fn tagged<'a>(local: &'a str, tag: &str) -> Option<&'a str> {
    let (start, rest) = local.split_at_checked(4)?;
    (start.eq_ignore_ascii_case(tag) && rest.starts_with(['=', '+', '-'])).then_some(rest)
}

fn stamp(now: Duration) -> String {
    let day = now.as_secs() / 86_400 % CYCLE;
    let digit = |n: u64| char::from(BASE32[usize::try_from(n & 31).unwrap_or(0)]);
    [digit(day >> 5), digit(day)].iter().collect()
}

/// In days.
fn age(stamp: &str, now: Duration) -> Option<u64> {
    let mut day = 0;
    for b in stamp.bytes() {
        let digit = BASE32.iter().position(|d| d.eq_ignore_ascii_case(&b))?;
        day = day << 5 | digit as u64;
    }
    (stamp.len() == 2).then(|| (now.as_secs() / 86_400 % CYCLE + CYCLE - day) % CYCLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    /// Second source: `hmac` and `base64` of Python, as postsrsd has it:
    /// `base64.b64encode(hmac.new(b"tops3cr3t", b"bpexample.orgtest", "sha1").digest())[:4]`.
    #[test]
    fn known_hash() {
        let srs = Srs::new("tops3cr3t", "example.com");
        assert_eq!(srs.hash(&["BP", "example.org", "test"]), "uvFg");
    }

    #[test]
    fn there_and_back() {
        let (ours, others) = (Srs::new("one", "f.example"), Srs::new("two", "g.example"));
        let sender = address("anna@a.example");
        let first = ours.forward(&sender, 20_000 * DAY);
        assert!(
            first.to_string().starts_with("SRS0=")
                && first.to_string().ends_with("=a.example=anna@f.example")
        );
        assert_eq!(ours.reverse(&first, 20_021 * DAY), Some(Ok(sender.clone())));
        assert_eq!(ours.reverse(&first, 20_022 * DAY), Some(Err("it is too old")));
        assert_eq!(others.reverse(&first, 20_000 * DAY), None);
        let second = others.forward(&first, 20_000 * DAY);
        assert!(second.to_string().starts_with("SRS1="), "{second}");
        assert_eq!(others.reverse(&second, 20_000 * DAY), Some(Ok(first.clone())));
        // A third forwarder skips the second.
        let third = Srs::new("three", "h.example");
        let again = third.forward(&second, 20_000 * DAY);
        assert_eq!(third.reverse(&again, 20_000 * DAY), Some(Ok(first)));
        // Lower-cased on the way.
        let lower = address(&ours.forward(&sender, 20_000 * DAY).to_string().to_lowercase());
        assert_eq!(ours.reverse(&lower, 20_000 * DAY), Some(Ok(sender)));
        for forged in [
            "SRS0=AAAA=AA=a.example=anna@f.example",
            "SRS0=@f.example",
            "SRS1=x@f.example",
            "SRS0=a=b=c@f.example",
        ] {
            assert!(ours.reverse(&address(forged), DAY).unwrap().is_err(), "{forged}");
        }
        assert_eq!(ours.reverse(&address("anna@f.example"), DAY), None);
        assert_eq!(ours.forward(&address("x@F.example"), DAY), address("x@F.example"));
    }

    proptest! {
        #[test]
        fn any_address(text in "[ -~]{0,40}", day in 0u64..30_000) {
            let srs = Srs::new("s", "f.example");
            if let Some(sender) = Address::parse(&text) {
                let there = srs.forward(&sender, DAY * u32::try_from(day).unwrap());
                if there != sender && !text.to_ascii_uppercase().contains("SRS") {
                    prop_assert_eq!(srs.reverse(&there, DAY * u32::try_from(day).unwrap()), Some(Ok(sender)));
                }
            }
            let _ = srs.reverse(&Address { local: text, domain: Some(Domain::Name("f.example".into())) }, DAY);
        }
    }
}
