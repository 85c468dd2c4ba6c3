//! From a frame to a command (RFC 9051 §9, `command`).
//!
//! [`parse`] never looks at the session's state, only at its dialect; it takes commands of IMAP4rev1 and of
//! IMAP4rev2 alike. What it refuses is answered by BAD with the tag, if there was one.

use crate::command::{
    Any, Authenticated as A, Command, NotAuthenticated as N, Numbering, Selected as S, Tagged, append,
    authenticate, copy, create, delete, enable, examine, expunge, fetch, getquota, getquotaroot, id, list,
    login, lsub, r#move, rename, search, select, setquota, sort, status, store, subscribe, thread,
    unsubscribe,
};
use crate::ext::utf8::Dialect;
use crate::frame::Frame;
use crate::grammar::{Parser, is_tag_char};
use culver_base::Malformed;
use thiserror::Error;

/// Why a frame is no command.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{malformed}")]
pub struct ParseError {
    /// The tag to answer with, if the line has one.
    pub tag: Option<String>,
    /// Where and what.
    pub malformed: Malformed,
    /// Is the command's name none that we know? Otherwise its arguments are wrong.
    pub unknown_command: bool,
}

/// Understands a frame. The whole of it: what is left over is refused.
pub fn parse(frame: &Frame, dialect: Dialect) -> Result<Tagged<'_>, ParseError> {
    let mut p = Parser::new(frame, dialect);
    let tag = p.tag().map_err(|malformed| ParseError { tag: None, malformed, unknown_command: false })?;
    let mut known = true;
    match tagged(&mut p, &mut known) {
        Ok(command) => Ok(Tagged { tag, command }),
        Err(malformed) => Err(ParseError { tag: Some(tag.to_owned()), malformed, unknown_command: !known }),
    }
}

fn tagged<'a>(p: &mut Parser<'a>, known: &mut bool) -> Result<Command<'a>, Malformed> {
    p.sp()?;
    let command = command(p, known)?;
    p.end()?;
    Ok(command)
}

fn command<'a>(p: &mut Parser<'a>, known: &mut bool) -> Result<Command<'a>, Malformed> {
    const WANT: &str = "a command";
    let at = p.malformed(WANT);
    let word = p.word(WANT)?;
    Ok(match word.as_str() {
        // RFC 9051 §6.1
        "CAPABILITY" => Command::Any(Any::Capability),
        "NOOP" => Command::Any(Any::Noop),
        "LOGOUT" => Command::Any(Any::Logout),
        "ID" => Command::Any(Any::Id(id::parse(p)?)),
        // RFC 9051 §6.2
        "STARTTLS" => Command::NotAuthenticated(N::StartTls),
        "AUTHENTICATE" => Command::NotAuthenticated(authenticate::parse(p)?),
        "LOGIN" => Command::NotAuthenticated(login::parse(p)?),
        // RFC 9051 §6.3
        "ENABLE" => Command::Authenticated(A::Enable(enable::parse(p)?)),
        "SELECT" => Command::Authenticated(A::Select(select::parse(p)?)),
        "EXAMINE" => Command::Authenticated(A::Examine(examine::parse(p)?)),
        "CREATE" => Command::Authenticated(create::parse(p)?),
        "DELETE" => Command::Authenticated(A::Delete(delete::parse(p)?)),
        "RENAME" => Command::Authenticated(rename::parse(p)?),
        "SUBSCRIBE" => Command::Authenticated(A::Subscribe(subscribe::parse(p)?)),
        "UNSUBSCRIBE" => Command::Authenticated(A::Unsubscribe(unsubscribe::parse(p)?)),
        "LIST" => Command::Authenticated(A::List(list::parse(p)?)),
        "LSUB" => Command::Authenticated(lsub::parse(p)?),
        "NAMESPACE" => Command::Authenticated(A::Namespace),
        "STATUS" => Command::Authenticated(status::parse(p)?),
        "GETQUOTA" => Command::Authenticated(getquota::parse(p)?),
        "GETQUOTAROOT" => Command::Authenticated(getquotaroot::parse(p)?),
        "SETQUOTA" => Command::Authenticated(setquota::parse(p)?),
        "APPEND" => Command::Authenticated(append::parse(p)?),
        "IDLE" => Command::Authenticated(A::Idle),
        // RFC 9051 §6.4
        "CHECK" => Command::Selected(S::Check),
        "CLOSE" => Command::Selected(S::Close),
        "UNSELECT" => Command::Selected(S::Unselect),
        "EXPUNGE" => Command::Selected(S::Expunge { uids: None }),
        "UID" => {
            p.sp()?;
            let at = p.malformed("COPY, EXPUNGE, FETCH, MOVE, SEARCH or STORE");
            let word = p.word(at.expected)?;
            if word.as_str() == "EXPUNGE" {
                return Ok(Command::Selected(expunge::parse_uid(p)?));
            }
            match numbered(p, word.as_str(), Numbering::Uid)? {
                Some(command) => Command::Selected(command),
                None => {
                    *known = false;
                    return Err(at);
                }
            }
        }
        other => match numbered(p, other, Numbering::Sequence)? {
            Some(command) => Command::Selected(command),
            None => {
                *known = false;
                return Err(at);
            }
        },
    })
}

/// The commands that also go by UID (RFC 9051 §6.4.9).
fn numbered<'a>(p: &mut Parser<'a>, name: &str, numbering: Numbering) -> Result<Option<S<'a>>, Malformed> {
    Ok(Some(match name {
        "SEARCH" => S::Search(search::parse(p, numbering)?),
        "SORT" => S::Sort(sort::parse(p, numbering)?),
        "THREAD" => S::Thread(thread::parse(p, numbering)?),
        "FETCH" => S::Fetch(fetch::parse(p, numbering)?),
        "STORE" => S::Store(store::parse(p, numbering)?),
        "COPY" => S::Copy(copy::parse(p, numbering)?),
        "MOVE" => S::Move(r#move::parse(p, numbering)?),
        _ => return Ok(None),
    }))
}

/// The tag at the front of `bytes`, if a space or the line's end follows it.
pub(crate) fn tag_of(bytes: &[u8]) -> Option<&str> {
    let n = bytes.iter().position(|b| !is_tag_char(*b))?;
    if n == 0 || !matches!(bytes[n], b' ' | b'\r' | b'\n') {
        return None;
    }
    std::str::from_utf8(&bytes[..n]).ok()
}

/// The word after the tag.
pub(crate) fn verb_of(bytes: &[u8]) -> Option<&str> {
    let rest = bytes.get(tag_of(bytes)?.len()..)?.strip_prefix(b" ")?;
    let n = rest.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..n]).ok().filter(|verb| !verb.is_empty())
}
