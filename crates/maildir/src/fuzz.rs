//! Fuzz targets: any bytes, no panic, and what is read and written is read back.

use crate::codec::{Reader, Writer};
use crate::model::{Change, Model};
use crate::{checkpoint, dovecot_index, filename, journal, keywords, subscriptions, uidlist};
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

/// A checkpoint: any octets; and, behind the checksum that a fuzzer cannot guess, any body.
pub fn fuzz_checkpoint(data: &[u8]) {
    assert!(checkpoint::decode(data).is_none() || data.len() > 20);
    let Some((model, generation)) = checkpoint::decode_body(&mut Reader::new(data)) else { return };
    let written = checkpoint::encode(&model, generation);
    let (again, g) = checkpoint::decode(&written).expect("it was just written");
    assert_eq!(g, generation);
    assert!(again.snapshot.iter().eq(model.snapshot.iter()));
    assert_eq!(checkpoint::encode(&again, generation), written);
}

/// A journal: any octets as a file; and any octets as a change, which is applied.
pub fn fuzz_journal(data: &[u8]) {
    let mut model = Model::empty(
        MailboxId([1; 16]),
        culver_base::UidValidity::MIN,
        culver_base::Uid::MIN,
        culver_base::ModSeq::ZERO,
    );
    assert!(journal::replay(data, 1, &mut model).is_none_or(|r| r.good <= data.len()));
    let Some(change) = Change::decode(&mut Reader::new(data)) else { return };
    let mut w = Writer::default();
    change.encode(&mut w);
    assert_eq!(Change::decode(&mut Reader::new(&w.out)).as_ref(), Some(&change));
    let before = model.snapshot.highest_mod_seq;
    model.apply(&change);
    assert!(model.snapshot.highest_mod_seq >= before);
    assert_eq!(model.names.read().len(), model.snapshot.len());
    // A second time, on what the first one left.
    model.apply(&change);
}

/// dovecot.index with its logs: two octets say where each file begins.
pub fn fuzz_dovecot_index(data: &[u8]) {
    let [a, b, data @ ..] = data else { return };
    let first = data.len() * usize::from(*a) / 256;
    let second = first + (data.len() - first) * usize::from(*b) / 256;
    let (index, log, old) = (&data[..first], &data[first..second], &data[second..]);
    drop(dovecot_index::read(Some(index), Some(log), Some(old)));
    drop(dovecot_index::read(None, Some(data), None));
}

/// A record of the cache.
pub fn fuzz_cache_record(data: &[u8]) {
    use crate::cache::record::{Facts, Item, first};
    first(data);
    // The checksum would keep everything out.
    let len = u32::try_from(data.len()).unwrap_or(0).to_le_bytes();
    let frame = bytes::Bytes::from([&len[..], &crc32fast::hash(data).to_le_bytes(), data].concat());
    let Some((_, uid)) = first(&frame) else { return };
    let Some(facts) = Facts::read(&frame, uid) else { return };
    assert!(facts.covers(&facts));
    if let Some(columns) = facts.get(Item::Columns) {
        culver_mime::columns::Columns::parse(&columns);
    }
}

/// The index of the cache.
pub fn fuzz_cache_index(data: &[u8]) {
    // The checksum would keep everything out.
    let whole = [data, &crc32fast::hash(data).to_le_bytes()].concat();
    let generation = data.get(8..16).and_then(|g| g.try_into().ok()).unwrap_or_default();
    let Some((covered, slots)) = crate::cache::index::decode(&whole, generation) else { return };
    let again = crate::cache::index::encode(generation, covered, &slots);
    assert_eq!(crate::cache::index::decode(&again, generation), Some((covered, slots)));
}
