//! Fuzz targets: any bytes, no panic, and what is read and written is read back.

use crate::{filename, keywords, subscriptions, uidlist};
use culver_snapshot::MailboxId;

/// Names of message files.
pub fn fuzz_filename(data: &[u8]) {
    let (system, letters) = filename::flags(data);
    let again = filename::with_flags(data, system, letters);
    assert_eq!(filename::base(&again), filename::base(data));
    assert_eq!(filename::flags(&again), (system, letters));
    filename::sizes(data);
    filename::kind(data);
    let (a, b) = data.split_at(data.len() / 2);
    assert_eq!(filename::arrival_order(a, b), filename::arrival_order(b, a).reverse());
}

/// dovecot-uidlist.
pub fn fuzz_uidlist(data: &[u8]) {
    let read = uidlist::read(data);
    let Some(mut header) = read.header.clone() else { return };
    header.id.get_or_insert(MailboxId([0; 16]));
    let written = uidlist::write(&header, read.entries.iter().copied());
    let again = uidlist::read(&written);
    assert_eq!(again.entries, read.entries);
    assert_eq!(again.health, uidlist::Health::Good);
    assert_eq!(again.header, Some(header));
}

/// dovecot-keywords.
pub fn fuzz_keywords(data: &[u8]) {
    let table = keywords::Keywords::read(data);
    assert_eq!(keywords::Keywords::read(&table.write()), table);
}

/// subscriptions.
pub fn fuzz_subscriptions(data: &[u8]) {
    let Ok(list) = subscriptions::Subscriptions::read(data, '.') else { return };
    assert_eq!(subscriptions::Subscriptions::read(&list.write(), '.'), Ok(list));
}
