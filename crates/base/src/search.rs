//! SEARCH keys (RFC 9051 §6.4.4), with the keys of CONDSTORE and WITHIN.

use crate::{Keyword, ModSeq, SequenceSet, SystemFlags, date::Date};

/// A search key. `T` is the type of its texts: raw bytes as parsed, [`String`] once the charset is decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SearchKey<T = String> {
    /// ALL
    All,
    /// All of these; a parenthesised list, and the program itself.
    And(Vec<Self>),
    /// OR
    Or(Box<Self>, Box<Self>),
    /// NOT
    Not(Box<Self>),
    /// ANSWERED, DELETED, DRAFT, FLAGGED, SEEN. (`UNSEEN` and kin are [`Self::Not`] of these.)
    Flag(SystemFlags),
    /// KEYWORD
    Keyword(Keyword),
    /// RECENT (RFC 3501)
    Recent,
    /// NEW (RFC 3501): RECENT UNSEEN
    New,
    /// OLD (RFC 3501): NOT RECENT
    Old,
    /// Sequence numbers.
    Sequence(SequenceSet),
    /// UID
    Uid(SequenceSet),
    /// BEFORE: internal date, its day in its own zone.
    Before(Date),
    /// ON
    On(Date),
    /// SINCE
    Since(Date),
    /// SENTBEFORE: the Date field, zone ignored.
    SentBefore(Date),
    /// SENTON
    SentOn(Date),
    /// SENTSINCE
    SentSince(Date),
    /// LARGER: RFC822.SIZE above.
    Larger(u64),
    /// SMALLER
    Smaller(u64),
    /// OLDER (RFC 5032): seconds.
    Older(u32),
    /// YOUNGER (RFC 5032): seconds.
    Younger(u32),
    /// BCC, CC, FROM, SUBJECT, TO and HEADER. An empty text asks whether the field is there.
    Header {
        /// Field name.
        name: T,
        /// Substring of the decoded value.
        text: T,
    },
    /// BODY
    Body(T),
    /// TEXT
    Text(T),
    /// MODSEQ (RFC 7162 §3.1.5): at or above.
    ModSeq(ModSeq),
}

impl<T> SearchKey<T> {
    /// The same key with each text put through `f`. The depth of keys is bounded by the parser.
    pub fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<SearchKey<U>, E> {
        use SearchKey as K;
        Ok(match self {
            K::All => K::All,
            K::And(keys) => K::And(keys.into_iter().map(|k| k.try_map(f)).collect::<Result<_, E>>()?),
            K::Or(a, b) => K::Or(Box::new(a.try_map(f)?), Box::new(b.try_map(f)?)),
            K::Not(k) => K::Not(Box::new(k.try_map(f)?)),
            K::Flag(v) => K::Flag(v),
            K::Keyword(v) => K::Keyword(v),
            K::Recent => K::Recent,
            K::New => K::New,
            K::Old => K::Old,
            K::Sequence(v) => K::Sequence(v),
            K::Uid(v) => K::Uid(v),
            K::Before(v) => K::Before(v),
            K::On(v) => K::On(v),
            K::Since(v) => K::Since(v),
            K::SentBefore(v) => K::SentBefore(v),
            K::SentOn(v) => K::SentOn(v),
            K::SentSince(v) => K::SentSince(v),
            K::Larger(v) => K::Larger(v),
            K::Smaller(v) => K::Smaller(v),
            K::Older(v) => K::Older(v),
            K::Younger(v) => K::Younger(v),
            K::Header { name, text } => K::Header { name: f(name)?, text: f(text)? },
            K::Body(v) => K::Body(f(v)?),
            K::Text(v) => K::Text(f(v)?),
            K::ModSeq(v) => K::ModSeq(v),
        })
    }

    /// Does `test` hold for this key or any key inside it?
    pub fn any(&self, test: &mut impl FnMut(&Self) -> bool) -> bool {
        test(self)
            || match self {
                Self::And(keys) => keys.iter().any(|k| k.any(test)),
                Self::Or(a, b) => a.any(test) || b.any(test),
                Self::Not(k) => k.any(test),
                _ => false,
            }
    }
}
