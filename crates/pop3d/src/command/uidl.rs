//! UIDL (RFC 1939 §7).
//!
//! An identifier is the one that is stored with the message; else, with `reuse_xuidl`, what its X-UIDL field says; else what the
//! format makes of it. Where the others have to be known as well (X-UIDL, renaming of equal ones) all are made once and
//! kept for the session; otherwise they are made as they are sent.

use crate::context::Context;
use crate::service::{Duplicates, Pop3Settings};
use crate::state::Transaction;
use crate::stop::Stop;
use culver_base::Uid;
use culver_mime::fields;
use culver_pop3::command::Number;
use culver_pop3::language::Text;
use culver_pop3::response::{self, unique_id_listing};
use culver_store::{Origin, UniqueIds};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// So many identifiers are made at a time.
const AT_ONCE: usize = 512;

/// UIDL.
pub async fn run(tx: &mut Transaction, asked: Option<Number>, cx: &mut Context) -> Result<(), Stop> {
    let service = cx.service.clone();
    let settings = &service.settings;
    let asked = asked.map(|number| tx.find(number).map(|position| (number, position))).transpose()?;
    if tx.ids.is_none() && (settings.reuse_xuidl || settings.duplicates == Duplicates::Rename) {
        tx.ids = Some(Arc::new(all(tx, settings).await));
    }
    tx.told_ids = true;
    let format = &settings.uidl_format;
    let made = |from: usize, to: usize| match &tx.ids {
        Some(_) => None,
        None => Some(tx.mailbox.unique_ids(&tx.maildrop, from..to, format)),
    };
    if let Some((number, position)) = asked {
        let made = made(position, position + 1);
        let found = match (&tx.ids, &made) {
            (Some(ids), _) => ids.get(position),
            (None, made) => made.as_ref().and_then(|ids| ids.get(0)),
        };
        let Some((id, _)) = found.filter(|(_, origin)| *origin != Origin::Unknown) else {
            return Err(Stop::No(None, Text::MessageGone));
        };
        cx.wire.out.extend_from_slice(b"+OK ");
        unique_id_listing(&mut cx.wire.out, number.get(), &printable(id));
        return Ok(());
    }
    cx.ok(&Text::Messages { messages: tx.len(), octets: tx.octets() });
    let len = tx.maildrop.len();
    for from in (0..len).step_by(AT_ONCE) {
        let to = (from + AT_ONCE).min(len);
        let made = made(from, to);
        for position in from..to {
            let found = match (&tx.ids, &made) {
                (Some(ids), _) => ids.get(position),
                (None, made) => made.as_ref().and_then(|ids| ids.get(position - from)),
            };
            let Some((id, origin)) = found else { continue };
            if origin != Origin::Unknown && !tx.deleted.has(position) {
                unique_id_listing(&mut cx.wire.out, Number::of_position(position).get(), &printable(id));
            }
        }
        cx.wire.relieve().await?;
    }
    response::end(&mut cx.wire.out);
    Ok(())
}

/// RFC 1939 §7: 0x21 to 0x7E.
fn printable(id: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if id.iter().all(u8::is_ascii_graphic) {
        return id.into();
    }
    id.iter().map(|b| if b.is_ascii_graphic() { *b } else { b'_' }).collect::<Vec<u8>>().into()
}

/// All identifiers, with what other messages have to say about them.
async fn all(tx: &Transaction, settings: &Pop3Settings) -> UniqueIds {
    let ids = tx.mailbox.unique_ids(&tx.maildrop, 0..tx.maildrop.len(), &settings.uidl_format);
    let from_header = if settings.reuse_xuidl { x_uidl(tx, &ids).await } else { HashMap::new() };
    let mut taken: HashSet<Vec<u8>> = HashSet::new();
    let mut out = UniqueIds::default();
    for ((uid, _), (id, origin)) in tx.maildrop.iter().zip(ids.iter()) {
        let id = from_header.get(&uid).map_or(id, Vec::as_slice);
        let mut unique = id.to_vec();
        if settings.duplicates == Duplicates::Rename && origin != Origin::Unknown {
            let mut count = 1_u32;
            while !taken.insert(unique.clone()) {
                count += 1;
                unique = [id, format!("-{count}").as_bytes()].concat();
            }
        }
        out.add(origin, |octets| octets.extend_from_slice(&unique));
    }
    out
}

/// X-UIDL fields of messages that have nothing stored.
async fn x_uidl(tx: &Transaction, ids: &UniqueIds) -> HashMap<Uid, Vec<u8>> {
    let listed = tx.maildrop.iter().zip(ids.iter());
    let wanted: Vec<Uid> =
        listed.filter(|(_, (_, origin))| *origin == Origin::Made).map(|((uid, _), _)| uid).collect();
    let found: Arc<Mutex<HashMap<Uid, Vec<u8>>>> = Arc::default();
    let mut at = 0;
    while at < wanted.len() {
        let into = found.clone();
        let visit: culver_store::Visit = Box::new(move |message| {
            if let Ok(header) = message.lean_header()
                && let Some(field) = fields::last(&header, b"X-UIDL")
            {
                let id = field.unfolded().trim_ascii().to_vec();
                if !id.is_empty() && id.iter().all(u8::is_ascii_graphic) {
                    into.lock().insert(message.uid(), id);
                }
            }
            ControlFlow::Continue(())
        });
        at += tx.mailbox.visit(wanted[at..].to_vec(), visit).await.count.max(1);
    }
    std::mem::take(&mut *found.lock())
}
