//! What every successful login does: the account's place among its sessions, the claim, the maildrop (RFC 1939 §4).

use crate::context::Context;
use crate::marks::Marks;
use crate::service;
use crate::state::Transaction;
use crate::stop::Stop;
use culver_auth::Denied;
use culver_base::{MailboxName, SystemFlags, UidSet};
use culver_events::{Event, MaildropCounts};
use culver_pop3::language::Text;
use culver_pop3::response::Code;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// A name or password as SASLprep has it (RFC 6856 §2.2). ASCII is left alone.
pub fn prepared(text: &[u8]) -> Result<Cow<'_, [u8]>, Stop> {
    if text.is_ascii() {
        return Ok(text.into());
    }
    let refuse = || Stop::No(Some(Code::Auth), Text::ForbiddenCharacters);
    let text = std::str::from_utf8(text).map_err(|_| refuse())?;
    let prepared = stringprep::saslprep(text).map_err(|_| refuse())?;
    Ok(prepared.into_owned().into_bytes().into())
}

/// Opens the maildrop of an account that has proven who it is.
pub async fn open(
    account: Arc<culver_directory::Account>,
    method: &'static str,
    cx: &mut Context,
) -> Result<Transaction, Stop> {
    let service = cx.service.clone();
    let settings = &service.settings;
    if let Some(wait) = service.last_logins.wait(&account.name, settings.login_delay, Instant::now()) {
        return Err(Stop::No(Some(Code::LoginDelay), Text::TooSoon(wait.as_secs() + 1)));
    }
    let seat = service.auth.seat(&account.name, &cx.peer, settings.sessions);
    let seat = seat.map_err(|full| match full {
        // The password was right: it is no failed login.
        Denied::TooManySessions { most } => Stop::No(Some(Code::InUse), Text::TooManySessions(most)),
        other => Stop::Denied(other),
    })?;
    let mail = service.store.account(&account.place()).await?;
    let claim = if settings.lock_session { Some(mail.claim().await?) } else { None };
    let mailbox = mail.open(&MailboxName::inbox()).await?;
    let maildrop = mailbox.maildrop(settings.sizes, settings.deleted_flag.as_ref()).await?;
    let last = if settings.enable_last {
        let seen =
            |at: &usize| maildrop.record(*at).is_some_and(|r| r.flags.system.contains(SystemFlags::SEEN));
        (0..maildrop.len()).rev().find(seen).map_or(0, |at| u32::try_from(at + 1).unwrap_or(u32::MAX))
    } else {
        0
    };
    // RFC 2449 §6.5: it counts from the `+OK`.
    service.last_logins.note(&account.name, settings.login_delay, Instant::now());
    service.events.emit(Event::login(&account.name, method, service::origin(&cx.peer)));
    let counts =
        MaildropCounts { messages: maildrop.len(), octets: maildrop.octets(), ..MaildropCounts::default() };
    Ok(Transaction {
        name: account.name.as_str().into(),
        account,
        mailbox,
        maildrop,
        deleted: Marks::default(),
        newly_seen: UidSet::new(),
        last,
        last_at_login: last,
        ids: None,
        told_ids: false,
        counts,
        claim,
        seat,
    })
}
