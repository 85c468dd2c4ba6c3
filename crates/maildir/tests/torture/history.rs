//! What is done: steps of sessions and other programs, and the faults among them, all from one seed.

use super::dice::Dice;
use super::faults::{Error, Fate};
use super::power::Order;
use culver_store::FlagChange;

/// Flags that are set and cleared. The keywords come and go with their letters.
pub const FLAGS: [&str; 8] =
    ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "work", "$Junk", "$Forwarded", "later"];

pub fn names(bits: u8) -> String {
    let names = FLAGS.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
    names.map(|(_, n)| *n).collect::<Vec<_>>().join(" ")
}

/// Mailboxes by number. The first two are always there; the others come and go.
pub const BOXES: [&str; 6] = ["INBOX", "Work", "Box", "Box/Deep", "Other", "Other/Deep"];

/// What RENAME of one to another moves, if it may be tried.
pub fn renames(from: usize, to: usize) -> &'static [(usize, usize)] {
    match (from, to) {
        (2, 4) => &[(2, 4), (3, 5)],
        (4, 2) => &[(4, 2), (5, 3)],
        (3, 2) => &[(3, 2)],
        (3, 4) => &[(3, 4)],
        (3, 5) => &[(3, 5)],
        (5, 2) => &[(5, 2)],
        (5, 3) => &[(5, 3)],
        (5, 4) => &[(5, 4)],
        _ => &[],
    }
}

#[derive(Clone, Debug)]
pub struct NewText {
    /// Flags, as bits of [`FLAGS`].
    pub flags: u8,
    pub date: Option<i64>,
    /// Through the spool, in pieces, or from memory?
    pub spooled: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Append(usize, Vec<NewText>),
    Store(usize, [u16; 2], u8, FlagChange),
    Expunge(usize, [u16; 2]),
    Copy(usize, [u16; 2], usize),
    Move(usize, [u16; 2], usize),
    Refresh(usize),
    Read(usize, u16),
    /// What lags behind is written, the journal closed; the mailbox stays open.
    Close(usize),
    Create(usize),
    Delete(usize),
    Rename(usize, usize),
    Subscribe(usize),
    List,
    /// Another program delivers, ...
    Deliver(usize),
    /// ... or takes a message from `new` to `cur` and sets flags,
    Touch(usize, u16, u8),
    /// ... or nothing happens for a while, so that times of files can be believed.
    Age,
    /// The server ends in order.
    Shut,
    /// It is killed between two answers.
    Kill,
    /// The power goes between two answers.
    LosePower,
}

/// A fault among the steps.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// Armed before this step.
    pub step: usize,
    /// At so many calls from there.
    pub nth: usize,
    pub fate: Fate,
    /// It ends behind so many further steps.
    pub lasts: usize,
    /// A stop: does the power go with it?
    pub power: bool,
}

#[derive(Clone, Debug)]
pub struct History {
    pub seed: u64,
    pub steps: Vec<Step>,
    pub faults: Vec<Planned>,
    /// What the disk promises; `None`: no power is lost.
    pub power: Option<Order>,
    /// Names follow flags at once.
    pub sync_flags: bool,
    /// Work that lags behind is done in the background at once, not only when a mailbox is closed. Then the order of
    /// calls is the scheduler's.
    pub lively: bool,
    /// Sessions listen, so that changes of other programs come by events.
    pub watched: bool,
}

fn step(d: &mut Dice, power: bool) -> Step {
    let at = *d.pick(&[0, 0, 0, 0, 0, 1, 1, 2, 3, 4]);
    let picks = [d.next() as u16, d.next() as u16];
    let bits = (d.next() & d.next()) as u8;
    let change = *d.pick(&[FlagChange::Add, FlagChange::Remove, FlagChange::Replace]);
    match d.roll(100) {
        0..18 => {
            let n = if d.once_in(3) { 1 + d.roll(4) } else { 1 };
            let text = |d: &mut Dice| NewText {
                flags: if d.once_in(2) { 0 } else { (d.next() & d.next()) as u8 },
                date: d.once_in(2).then(|| 1_000_000_000 + d.roll(100_000_000) as i64),
                spooled: d.once_in(2),
            };
            Step::Append(at, (0..n).map(|_| text(d)).collect())
        }
        18..38 => Step::Store(at, picks, bits, change),
        38..46 => Step::Expunge(at, picks),
        46..52 => Step::Copy(at, picks, *d.pick(&[0, 1, 1, 2, 3, 4])),
        52..59 => Step::Move(at, picks, *d.pick(&[0, 1, 1, 2, 3, 4])),
        59..66 => Step::Refresh(at),
        66..69 => Step::Read(at, picks[0]),
        69..75 => Step::Close(at),
        75..78 => Step::Create(2 + d.roll(4)),
        78 => Step::Delete(2 + d.roll(4)),
        79..82 => Step::Rename(2 + d.roll(4), 2 + d.roll(4)),
        82 => Step::Subscribe(at),
        83 => Step::List,
        84..89 => Step::Deliver(at),
        89..92 => Step::Touch(at, picks[0], bits & 15),
        92..94 => Step::Age,
        94..96 => Step::Shut,
        _ if power && d.once_in(2) => Step::LosePower,
        _ => Step::Kill,
    }
}

/// A fate, and whether the power goes with it.
fn fate(d: &mut Dice, power: bool) -> (Fate, bool) {
    let error = *d.pick(&Error::ALL);
    match d.roll(10) {
        0 | 1 => (Fate::Once(error), false),
        2 | 3 => (Fate::Lasting(error), false),
        4 => (*d.pick(&[Fate::Short, Fate::ShortThenFull]), false),
        _ => (*d.pick(&[Fate::StopBefore, Fate::StopAfter, Fate::StopTorn]), power && !d.once_in(4)),
    }
}

impl History {
    pub fn from_seed(seed: u64) -> Self {
        let mut d = Dice::new(seed);
        let power = match d.roll(4) {
            0 => Some(Order::Posix),
            1 => Some(Order::Journal),
            _ => None,
        };
        let n = 6 + d.roll(30);
        let steps = (0..n).map(|_| step(&mut d, power.is_some())).collect();
        let mut faults = Vec::new();
        let mut at = d.roll(4);
        while at < n {
            let (fate, power) = fate(&mut d, power.is_some());
            let nth = 1 + if d.once_in(3) { d.roll(60) } else { d.roll(16) };
            faults.push(Planned { step: at, nth, fate, lasts: d.roll(4), power });
            at += 1 + d.roll(8);
        }
        let (sync_flags, lively, watched) = (d.once_in(5), d.once_in(5), d.once_in(5));
        Self { seed, steps, faults, power, sync_flags, lively, watched }
    }
}
