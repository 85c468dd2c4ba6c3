//! Status responses and their codes (RFC 9051 §7.1), CAPABILITY, ENABLED, ID and continuation requests.

use super::text::{First, human, number, string, uid_set};
use crate::capability::{Circumstances, render};
use culver_base::{ModSeq, SeqNo, Uid, UidSet, UidValidity};

/// `resp-cond-state` and its kin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// OK
    Ok,
    /// NO
    No,
    /// BAD
    Bad,
    /// BYE
    Bye,
    /// PREAUTH
    PreAuth,
}

impl Condition {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::Bye => "BYE",
            Self::PreAuth => "PREAUTH",
        }
    }
}

/// `resp-text-code` (RFC 9051 §7.1, with those of RFC 3501, 3516, 4315, 4469, 5530, 6154 and 7162).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code<'a> {
    /// ALERT
    Alert,
    /// ALREADYEXISTS
    AlreadyExists,
    /// APPENDUID (RFC 4315 §3): the new UIDs, which ascend in the order of the messages.
    AppendUid(UidValidity, &'a UidSet),
    /// AUTHENTICATIONFAILED
    AuthenticationFailed,
    /// AUTHORIZATIONFAILED
    AuthorizationFailed,
    /// BADCHARSET, with those that we know.
    BadCharset(&'a [&'a str]),
    /// CANNOT
    Cannot,
    /// CAPABILITY
    Capability(&'a Circumstances<'a>),
    /// CLIENTBUG
    ClientBug,
    /// CLOSED (RFC 7162 §3.2.11)
    Closed,
    /// CONTACTADMIN
    ContactAdmin,
    /// COPYUID (RFC 4315 §3). The two sets are read in parallel, so they must have the same number of
    /// UIDs, and messages must have been copied in ascending order of their UIDs.
    CopyUid {
        /// Of the mailbox copied to.
        uid_validity: UidValidity,
        /// UIDs there were.
        source: &'a UidSet,
        /// UIDs there are now.
        destination: &'a UidSet,
    },
    /// CORRUPTION
    Corruption,
    /// EXPIRED
    Expired,
    /// EXPUNGEISSUED
    ExpungeIssued,
    /// HASCHILDREN
    HasChildren,
    /// HIGHESTMODSEQ (RFC 7162 §3.1.2.1)
    HighestModSeq(ModSeq),
    /// INUSE
    InUse,
    /// LIMIT
    Limit,
    /// MODIFIED (RFC 7162 §3.1.3): sequence numbers, or UIDs after UID STORE.
    Modified(&'a UidSet),
    /// NOMODSEQ (RFC 7162 §3.1.2.2)
    NoModSeq,
    /// NONEXISTENT
    NonExistent,
    /// NOPERM
    NoPerm,
    /// NOTSAVED (RFC 5182 §2.1)
    NotSaved,
    /// OVERQUOTA
    OverQuota,
    /// PARSE
    Parse,
    /// PERMANENTFLAGS, with `\*` if keywords can be made.
    PermanentFlags(&'a [&'a str]),
    /// PRIVACYREQUIRED
    PrivacyRequired,
    /// READ-ONLY
    ReadOnly,
    /// READ-WRITE
    ReadWrite,
    /// SERVERBUG
    ServerBug,
    /// TOOBIG (RFC 4469 §4.2)
    TooBig,
    /// TRYCREATE
    TryCreate,
    /// UIDNEXT
    UidNext(Uid),
    /// UIDNOTSTICKY
    UidNotSticky,
    /// UIDVALIDITY
    UidValidity(UidValidity),
    /// UNAVAILABLE
    Unavailable,
    /// UNKNOWN-CTE (RFC 3516 §4.3)
    UnknownCte,
    /// UNSEEN (RFC 3501 §7.1)
    Unseen(SeqNo),
    /// USEATTR (RFC 6154 §3)
    UseAttr,
}

impl Code<'_> {
    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Alert => "ALERT",
            Self::AlreadyExists => "ALREADYEXISTS",
            Self::AppendUid(..) => "APPENDUID",
            Self::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Self::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Self::BadCharset(_) => "BADCHARSET",
            Self::Cannot => "CANNOT",
            Self::Capability(_) => "CAPABILITY",
            Self::ClientBug => "CLIENTBUG",
            Self::Closed => "CLOSED",
            Self::ContactAdmin => "CONTACTADMIN",
            Self::CopyUid { .. } => "COPYUID",
            Self::Corruption => "CORRUPTION",
            Self::Expired => "EXPIRED",
            Self::ExpungeIssued => "EXPUNGEISSUED",
            Self::HasChildren => "HASCHILDREN",
            Self::HighestModSeq(_) => "HIGHESTMODSEQ",
            Self::InUse => "INUSE",
            Self::Limit => "LIMIT",
            Self::Modified(_) => "MODIFIED",
            Self::NoModSeq => "NOMODSEQ",
            Self::NonExistent => "NONEXISTENT",
            Self::NoPerm => "NOPERM",
            Self::NotSaved => "NOTSAVED",
            Self::OverQuota => "OVERQUOTA",
            Self::Parse => "PARSE",
            Self::PermanentFlags(_) => "PERMANENTFLAGS",
            Self::PrivacyRequired => "PRIVACYREQUIRED",
            Self::ReadOnly => "READ-ONLY",
            Self::ReadWrite => "READ-WRITE",
            Self::ServerBug => "SERVERBUG",
            Self::TooBig => "TOOBIG",
            Self::TryCreate => "TRYCREATE",
            Self::UidNext(_) => "UIDNEXT",
            Self::UidNotSticky => "UIDNOTSTICKY",
            Self::UidValidity(_) => "UIDVALIDITY",
            Self::Unavailable => "UNAVAILABLE",
            Self::UnknownCte => "UNKNOWN-CTE",
            Self::Unseen(_) => "UNSEEN",
            Self::UseAttr => "USEATTR",
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let a_number = |out: &mut Vec<u8>, n: u64| {
            out.push(b' ');
            number(out, n);
        };
        out.push(b'[');
        out.extend_from_slice(self.name().as_bytes());
        match *self {
            Self::AppendUid(validity, uids) => {
                a_number(out, u64::from(validity.get()));
                out.push(b' ');
                uid_set(out, uids);
            }
            Self::BadCharset([]) => {}
            Self::BadCharset(words) | Self::PermanentFlags(words) => {
                out.extend_from_slice(b" (");
                super::mailbox::words(out, words.iter().copied());
                out.push(b')');
            }
            Self::Capability(circumstances) => {
                out.push(b' ');
                render(out, circumstances);
            }
            Self::CopyUid { uid_validity, source, destination } => {
                a_number(out, u64::from(uid_validity.get()));
                out.push(b' ');
                uid_set(out, source);
                out.push(b' ');
                uid_set(out, destination);
            }
            Self::HighestModSeq(mod_seq) => a_number(out, mod_seq.get()),
            Self::Modified(set) => {
                out.push(b' ');
                uid_set(out, set);
            }
            Self::UidNext(uid) => a_number(out, u64::from(uid.get())),
            Self::UidValidity(validity) => a_number(out, u64::from(validity.get())),
            Self::Unseen(seq) => a_number(out, u64::from(seq.get())),
            _ => {}
        }
        out.extend_from_slice(b"] ");
    }
}

/// A status response: tagged, or untagged without `tag`. `text` is for people and should not be empty.
pub fn status(
    out: &mut Vec<u8>,
    tag: Option<&str>,
    condition: Condition,
    code: Option<&Code<'_>>,
    text: &str,
) {
    out.extend_from_slice(tag.unwrap_or("*").as_bytes());
    out.push(b' ');
    out.extend_from_slice(condition.as_str().as_bytes());
    out.push(b' ');
    let first = match code {
        Some(code) => {
            code.write(out);
            First::IsText
        }
        None => First::MayBeCode,
    };
    // RFC 3501 §9 wants at least one character of text.
    human(out, if text.is_empty() { "-" } else { text }, first);
    out.extend_from_slice(b"\r\n");
}

/// `greeting`: OK, PREAUTH or BYE.
pub fn greeting(out: &mut Vec<u8>, condition: Condition, code: Option<&Code<'_>>, text: &str) {
    status(out, None, condition, code, text);
}

/// `continue-req`: for a literal or IDLE with a text, for a SASL challenge with its BASE64, which may be empty.
pub fn continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    human(out, text, First::MayBeCode);
    out.extend_from_slice(b"\r\n");
}

/// `capability-data`
pub fn capability(out: &mut Vec<u8>, circumstances: &Circumstances<'_>) {
    out.extend_from_slice(b"* CAPABILITY ");
    render(out, circumstances);
    out.extend_from_slice(b"\r\n");
}

/// `enable-data`
pub fn enabled<'a>(out: &mut Vec<u8>, capabilities: impl IntoIterator<Item = &'a str>) {
    out.extend_from_slice(b"* ENABLED");
    for capability in capabilities {
        out.push(b' ');
        out.extend_from_slice(capability.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// The ID response (RFC 2971 §3.2): NIL without pairs.
pub fn id(out: &mut Vec<u8>, pairs: &[(&str, Option<&str>)]) {
    out.extend_from_slice(b"* ID ");
    for (i, (field, value)) in pairs.iter().enumerate() {
        out.push(if i == 0 { b'(' } else { b' ' });
        string(out, field.as_bytes());
        out.push(b' ');
        super::nstring(out, value.map(str::as_bytes));
    }
    out.extend_from_slice(if pairs.is_empty() { b"NIL\r\n" } else { b")\r\n" });
}
