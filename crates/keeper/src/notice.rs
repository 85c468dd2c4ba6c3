//! Messages to users.

use crate::hook::Told;
use crate::standing::place;
use crate::texts::{Language, Texts};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use culver_base::MailboxName;
use culver_base::date::Date;
use culver_directory::Account;
use culver_store::{Failure, NewMessage, Spooled, Store};
use std::sync::Arc;

/// What a user is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// In which language.
    pub language: Language,
    /// Of what.
    pub told: Told,
    /// The subject.
    pub subject: String,
    /// The text, with LF.
    pub text: String,
    /// When it was written.
    pub at: i64,
}

impl Notice {
    /// In the words of a language.
    pub fn new(account: &str, texts: &Texts, language: Language, told: Told, at: i64) -> Self {
        let (subject, text) = texts.text_of(account, &language, &told);
        Self { language, told, subject, text, at }
    }

    /// As a message from `from` to the account (RFC 5322 §3.6, RFC 2047 §4.1).
    pub fn message(&self, from: &str, account: &str) -> Vec<u8> {
        let subject = encoded(&self.subject);
        let date = date(self.at);
        let id = format!("{}.{}.quota@{}", self.at, self.told.step, domain(account));
        let head = format!(
            "From: <{from}>\r\nTo: <{account}>\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{id}>\r\n\
             Auto-Submitted: auto-generated\r\nPrecedence: bulk\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nContent-Language: {}\r\n\r\n",
            self.language.tag()
        );
        let mut out = head.into_bytes();
        for line in self.text.lines() {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out
    }
}

fn domain(account: &str) -> &str {
    account.rsplit_once('@').map_or("localhost", |(_, domain)| domain)
}

/// A subject in encoded words of at most 75 characters each, if it is not ASCII.
fn encoded(subject: &str) -> String {
    if subject.is_ascii() {
        return subject.to_owned();
    }
    let mut words = Vec::new();
    let mut piece = String::new();
    for c in subject.chars() {
        if piece.len() + c.len_utf8() > 42 {
            words.push(std::mem::take(&mut piece));
        }
        piece.push(c);
    }
    words.push(piece);
    let words = words.iter().map(|w| format!("=?utf-8?B?{}?=", STANDARD.encode(w)));
    words.collect::<Vec<_>>().join("\r\n ")
}

/// As RFC 5322 §3.3 has it, in UTC.
fn date(at: i64) -> String {
    let (days, seconds) = (at.div_euclid(86_400), at.rem_euclid(86_400));
    let day = Date::from_days(days);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let name = usize::try_from(days.rem_euclid(7)).ok().and_then(|d| weekday.get(d)).unwrap_or(&"Thu");
    let month = months.get(usize::from(day.month).saturating_sub(1)).unwrap_or(&"Jan");
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{name}, {} {month} {:04} {h:02}:{m:02}:{s:02} +0000", day.day, day.year)
}

/// Who brings notices to users.
#[async_trait]
pub trait Notices: Send + Sync {
    /// Delivers one, whatever the quota says.
    ///
    /// # Errors
    /// When it cannot be stored now; it is tried again.
    async fn notice(&self, account: &Account, notice: Notice) -> Result<(), Failure>;
}

/// Puts notices into INBOX.
pub struct InboxNotices {
    store: Arc<dyn Store>,
    from: Option<String>,
}

impl InboxNotices {
    /// From this address; `None`: postmaster of the account's domain.
    pub fn new(store: Arc<dyn Store>, from: Option<String>) -> Self {
        Self { store, from }
    }
}

#[async_trait]
impl Notices for InboxNotices {
    async fn notice(&self, account: &Account, notice: Notice) -> Result<(), Failure> {
        let postmaster = || format!("postmaster@{}", domain(&account.name));
        let from = self.from.clone().unwrap_or_else(postmaster);
        let body = Spooled::Memory(notice.message(&from, &account.name).into());
        let mail = self.store.account(&place(account)).await?;
        let inbox = mail.open_target(&MailboxName::inbox()).await?;
        inbox.append(vec![NewMessage { body, flags: Vec::new(), internal_date: None }]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Second source: `date -u -R -d @N`; the words by Python's `email.header`.
    #[test]
    fn dates_and_subjects() {
        assert_eq!(date(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(date(1_795_457_045), "Mon, 23 Nov 2026 18:04:05 +0000");
        assert_eq!(encoded("full"), "full");
        assert_eq!(encoded("Postfach überfüllt"), "=?utf-8?B?UG9zdGZhY2ggw7xiZXJmw7xsbHQ=?=");
        assert!(encoded(&"ü".repeat(100)).split("\r\n ").all(|word| word.len() <= 75));
    }
}
