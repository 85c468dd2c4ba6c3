//! The order that SORT asks for (RFC 5256 §3, RFC 5957 §3).
//!
//! Every key of every message becomes a number first: texts their rank in the mailbox, which is kept with the columns.
//! Then rows of numbers are compared, and sequence numbers where they are equal.

use culver_base::{Uid, UidSet};
use culver_imap::command::{Order, SortCriterion, SortKey};
use culver_mime::columns::{Column, Columns};
use culver_snapshot::{Record, Snapshot};
use culver_store::ColumnTable;
use culver_store::columns::Walk;

/// Can it be sorted without looking into messages?
pub fn needs_columns(program: &[SortCriterion]) -> bool {
    program.iter().any(|c| !matches!(c.key, SortKey::Arrival | SortKey::Size))
}

/// When a message was sent: its Date field, else when it arrived (RFC 5256 §2.2).
pub fn sent(record: &Record, columns: Option<Columns<'_>>) -> i64 {
    columns.and_then(Columns::sent).unwrap_or(record.internal_date.unix)
}

fn column(key: SortKey) -> Option<Column> {
    Some(match key {
        SortKey::Cc => Column::CcMailbox,
        SortKey::From => Column::FromMailbox,
        SortKey::To => Column::ToMailbox,
        SortKey::Subject => Column::BaseSubject,
        SortKey::DisplayFrom => Column::DisplayFrom,
        SortKey::DisplayTo => Column::DisplayTo,
        SortKey::Arrival | SortKey::Date | SortKey::Size => return None,
    })
}

fn value(key: SortKey, record: &Record, columns: &mut Walk<'_>) -> u64 {
    // Order-preserving.
    let signed = |n: i64| (n as u64) ^ (1 << 63);
    match key {
        SortKey::Arrival => signed(record.internal_date.unix),
        SortKey::Date => signed(sent(record, columns.get(record.uid))),
        SortKey::Size => record.size.unwrap_or(0),
        other => column(other).and_then(|c| columns.rank(record.uid, c)).map_or(0, u64::from),
    }
}

/// `uids`, which are in the view, in the order that `program` says; with their positions.
pub fn sort(
    view: &Snapshot,
    uids: &UidSet,
    program: &[SortCriterion],
    table: &ColumnTable,
) -> Vec<(usize, Uid)> {
    let width = program.len();
    let mut walks: Vec<Walk<'_>> = program.iter().map(|_| table.walk()).collect();
    let mut values = Vec::new();
    let mut found = Vec::new();
    for (index, record) in view.select(uids) {
        for (criterion, walk) in program.iter().zip(&mut walks) {
            let value = value(criterion.key, record, walk);
            // [`packed`] turns a single one round itself.
            let turned = width > 1 && criterion.order == Order::Descending;
            values.push(if turned { !value } else { value });
        }
        found.push((index, record.uid));
    }
    if let [criterion] = program
        && let Some(order) = packed(&values, criterion.order)
    {
        return order.into_iter().map(|i| found[i]).collect();
    }
    // The first key beside the position: most comparisons end there.
    if let [criterion] = program
        && criterion.order == Order::Descending
    {
        values.iter_mut().for_each(|v| *v = !*v);
    }
    let mut order: Vec<(u64, u32)> =
        (0..found.len()).map(|i| (values.get(i * width).copied().unwrap_or(0), i as u32)).collect();
    let row = |i: u32| &values[i as usize * width..(i as usize + 1) * width];
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| row(a.1).cmp(row(b.1))).then(a.1.cmp(&b.1)));
    order.into_iter().map(|(_, i)| found[i as usize]).collect()
}

/// The order of single keys that lie within 32 bits, which nearly all do: key and position in one number.
fn packed(values: &[u64], order: Order) -> Option<Vec<usize>> {
    let (least, most) = (values.iter().min().copied()?, values.iter().max().copied()?);
    if most - least > u64::from(u32::MAX) || u32::try_from(values.len()).is_err() {
        return None;
    }
    let key = |v: u64| if order == Order::Descending { most - v } else { v - least };
    let mut packed: Vec<u64> = values.iter().zip(0u64..).map(|(v, i)| key(*v) << 32 | i).collect();
    packed.sort_unstable();
    Some(packed.into_iter().map(|p| (p & u64::from(u32::MAX)) as usize).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packing_changes_nothing(values in proptest::collection::vec(prop_oneof![0u64..5, 1u64 << 40..(1 << 40) + 5], 1..20), down: bool) {
            let order = if down { Order::Descending } else { Order::Ascending };
            let mut plain: Vec<usize> = (0..values.len()).collect();
            plain.sort_by_key(|i| if down { !values[*i] } else { values[*i] });
            let near = values.iter().all(|v| v >> 40 == values[0] >> 40);
            prop_assert_eq!(packed(&values, order), near.then_some(plain));
        }
    }
}
