//! QRESYNC (RFC 7162 §3.2): what a client remembers. Used by `command::select`; the VANISHED modifier of FETCH stands
//! beside CHANGEDSINCE in `ext::condstore`, without which it means nothing.

use crate::command::QResync;
use crate::grammar::Parser;
use culver_base::{Bound, Malformed, SequenceSet, UidValidity};

impl Parser<'_> {
    /// `SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"`
    pub fn qresync_param(&mut self) -> Result<QResync, Malformed> {
        self.sp()?;
        self.expect(b'(', "( and what QRESYNC shall start from")?;
        let at = self.malformed("a UIDVALIDITY");
        let uid_validity = UidValidity::new(self.nz_number(at.expected)?).ok_or(at)?;
        self.sp()?;
        let mod_seq = self.mod_sequence()?;
        let mut resync = QResync { uid_validity, mod_seq, known_uids: None, sequence_match: None };
        if matches!(self.rest(), [b' ', b'0'..=b'9', ..]) {
            self.sp()?;
            resync.known_uids = Some(self.known_set()?.0);
        }
        if self.take(b' ') {
            resync.sequence_match = Some(self.seq_match_data()?);
        }
        self.expect(b')', ") after what QRESYNC shall start from")?;
        Ok(resync)
    }

    /// `seq-match-data`: two sets of the same length, each ascending.
    fn seq_match_data(&mut self) -> Result<(SequenceSet, SequenceSet), Malformed> {
        let at = self.malformed("two ascending sets of the same length");
        self.expect(b'(', "( and sequence match data")?;
        let (numbers, numbers_len) = self.known_set()?;
        self.sp()?;
        let (uids, uids_len) = self.known_set()?;
        self.expect(b')', ") after sequence match data")?;
        match (numbers_len, uids_len) {
            (Some(a), Some(b)) if a == b => Ok((numbers, uids)),
            _ => Err(at),
        }
    }

    /// `sequence-set` without `*` and `$`, and how many numbers it has if it is ascending.
    fn known_set(&mut self) -> Result<(SequenceSet, Option<u64>), Malformed> {
        let at = self.malformed("a set of numbers without *");
        let set = self.sequence_set()?;
        let SequenceSet::Ranges(ranges) = &set else { return Err(at) };
        let (mut len, mut last, mut ascending) = (0, 0, true);
        for range in ranges {
            let &(Bound::Number(from), Bound::Number(to)) = range else { return Err(at) };
            ascending &= last < from && from <= to;
            len += u64::from(from.abs_diff(to)) + 1;
            last = to;
        }
        Ok((set, ascending.then_some(len)))
    }
}
