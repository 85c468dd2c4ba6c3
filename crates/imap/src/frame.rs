//! Framing before grammar: where does a command end?
//!
//! A [`Framer`] is fed the client's bytes as they come and finds the end of each command (line, announced
//! literals, next line; RFC 9051 §2.2.1, §4.3) without understanding it. It does no I/O and owns the bytes of the
//! command being read, nothing when there is none. Whatever is wrong with a command, the first byte of the next one is
//! known, so "BAD, and on we go" always holds; and the same bytes give the same steps however they were cut.
//!
//! What it does not do: decide. A literal is announced to the session ([`Step::Literal`]), which answers by
//! [`Framer::accept_inline`], [`Framer::set_aside`] or [`Framer::refuse`], and writes the continuation request if
//! the literal waits for one.
//!
//! When does a line announce a literal? A non-synchronizing announcement (`{n+}`) counts at the end of any line
//! (RFC 7888 §3: the receiver MUST check every line), for its bytes are already on their way. A synchronizing one
//! counts only where a string can begin, after a space or a parenthesis outside of quotes: a client that
//! waits hears BAD, and one that meant no literal is not left waiting.

use crate::ext::literal_plus;
use memchr::memchr;
use thiserror::Error;

/// How much of a command is held in memory, in octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// All lines of one command together, with their line ends and announcements, without its literals.
    pub line: usize,
    /// The largest literal that may stay in the frame.
    pub inline_literal: usize,
    /// Lines and literals of one command together, without what is set aside.
    pub command: usize,
}

impl Default for Limits {
    /// 64 KiB of lines (as Dovecot, and eight times what RFC 7162 §4 asks for), literals of 64 KiB, 256 KiB in all.
    fn default() -> Self {
        Self { line: 65_536, inline_literal: 65_536, command: 262_144 }
    }
}

/// A literal whose bytes have not come yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Octets. [`u64::MAX`] when the number does not fit: refuse it, or close the connection.
    pub size: u64,
    /// `{n}`: the client waits for a continuation request. `{n+}` does not.
    pub synchronizing: bool,
    /// `~{n}`: literal8 (RFC 3516), NUL allowed.
    pub binary: bool,
}

/// What [`Framer::push`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// All input is used; more is needed.
    More,
    /// A literal is announced: decide by [`Framer::accept_inline`], [`Framer::set_aside`] or [`Framer::refuse`].
    Literal(Announced),
    /// The first `len` bytes of the input (exactly those used) belong to the literal set aside last.
    Aside {
        /// How many.
        len: usize,
        /// Was it the last of it? Always told, also for an empty literal.
        end: bool,
    },
    /// A command is complete: [`Framer::take`] it.
    Command,
    /// The command whose non-synchronizing literal was refused has been skipped. [`Framer::tag`] is still known.
    Refused,
    /// A command longer than [`Limits`] has been skipped. [`Framer::tag`] is still known.
    TooLong,
}

/// A line is longer than it may be. It has been skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the line is too long")]
pub struct TooLong;

/// A complete command: its bytes with small literals in their places, without the last line end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frame {
    bytes: Vec<u8>,
    aside: Vec<Aside>,
}

/// A literal that was taken out, and the offset at which its bytes would stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Aside {
    at: usize,
    literal: Announced,
}

impl Frame {
    /// A frame of one line without literals set aside, for tests and tools.
    pub fn of(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), aside: Vec::new() }
    }
    /// The bytes of the command.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// Is it an empty line? RFC 9051 §7.1.3 answers it by an untagged BAD; it has no tag.
    pub fn is_blank(&self) -> bool {
        self.bytes.iter().all(|b| *b == b' ')
    }
    /// How many literals were set aside.
    pub fn aside_count(&self) -> usize {
        self.aside.len()
    }
    /// The set aside literal whose bytes would stand at `at`, and its index.
    pub(crate) fn aside_at(&self, at: usize) -> Option<(usize, Announced)> {
        let index = self.aside.binary_search_by_key(&at, |a| a.at).ok()?;
        Some((index, self.aside[index].literal))
    }
}

/// How many bytes of a skipped command are kept, to know its tag.
const KEPT: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In the text of a line, or before the first byte of a command.
    Line,
    /// The session is to decide.
    Deciding(Announced),
    /// This many bytes of a literal still go into the frame.
    Inline(usize),
    /// This many bytes of a literal still go to the session.
    Aside(u64),
    /// In a line which nobody wants, and what to say at its end.
    SkipLine(Step),
    /// This many bytes of a literal which nobody wants, then the line goes on.
    SkipLiteral(u64, Step),
    /// To be taken.
    Complete,
    /// A command came to nothing; its first bytes are kept for the answer.
    Over,
    /// In a line of [`Framer::line`] which is too long.
    SkipRaw,
}

/// Finds the ends of commands. One for each connection.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    state: State,
    bytes: Vec<u8>,
    aside: Vec<Aside>,
    /// Where the current line begins in `bytes`.
    line_start: usize,
    /// Bytes of lines so far.
    text: usize,
    /// The end of a line that is being skipped.
    tail: Tail,
}

impl Framer {
    /// Before the first command.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Line,
            bytes: Vec::new(),
            aside: Vec::new(),
            line_start: 0,
            text: 0,
            tail: Tail::EMPTY,
        }
    }

    /// Takes bytes from the front of `input`; says how many were used, and what happened. Stops at the first thing
    /// worth telling; [`Step::More`] comes only when everything is used. Until a command is taken or a
    /// literal decided, the same step is told again.
    pub fn push(&mut self, input: &[u8]) -> (usize, Step) {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            match self.state {
                State::Deciding(literal) => return (used, Step::Literal(literal)),
                State::Complete => return (used, Step::Command),
                State::Aside(left) => {
                    let len = clamp(left, rest.len());
                    let left = left - len as u64;
                    if len == 0 && left > 0 {
                        return (used, Step::More);
                    }
                    self.state = if left == 0 { self.next_line() } else { State::Aside(left) };
                    return (used + len, Step::Aside { len, end: left == 0 });
                }
                State::Inline(0) => self.state = self.next_line(),
                State::SkipLiteral(0, why) => self.state = State::SkipLine(why),
                _ if rest.is_empty() => return (used, Step::More),
                State::Over | State::SkipRaw => self.discard(),
                State::Inline(left) => {
                    let n = left.min(rest.len());
                    self.bytes.extend_from_slice(&rest[..n]);
                    self.state = State::Inline(left - n);
                    used += n;
                }
                State::SkipLiteral(left, why) => {
                    let n = clamp(left, rest.len());
                    self.state = State::SkipLiteral(left - n as u64, why);
                    used += n;
                }
                State::Line => {
                    let (n, step) = self.push_line(rest);
                    used += n;
                    if let Some(step) = step {
                        return (used, step);
                    }
                }
                State::SkipLine(why) => {
                    let end = memchr(b'\n', rest);
                    let n = end.map_or(rest.len(), |i| i + 1);
                    self.tail.push(&rest[..n]);
                    used += n;
                    if end.is_some() {
                        let literal = literal_plus::announcement(without_line_end(self.tail.bytes()));
                        self.tail = Tail::EMPTY;
                        match literal {
                            Some((literal, _)) if !literal.synchronizing => {
                                self.state = State::SkipLiteral(literal.size, why);
                            }
                            _ => {
                                self.state = State::Over;
                                return (used, why);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Line text, up to its end if it is there.
    fn push_line(&mut self, rest: &[u8]) -> (usize, Option<Step>) {
        let room = self
            .limits
            .line
            .saturating_sub(self.text)
            .min(self.limits.command.saturating_sub(self.bytes.len()));
        let end = memchr(b'\n', rest);
        let n = end.map_or(rest.len(), |i| i + 1);
        if n > room {
            // Up to the limit, however the bytes were cut: the tag may be among them.
            self.bytes.extend_from_slice(&rest[..room]);
            self.skip_line(Step::TooLong);
            return (room, None);
        }
        self.bytes.extend_from_slice(&rest[..n]);
        self.text += n;
        if end.is_none() {
            return (n, None);
        }
        let line = without_line_end(&self.bytes[self.line_start..]);
        match literal_plus::announcement(line) {
            Some((literal, at)) if !literal.synchronizing || literal_plus::can_begin(&line[..at]) => {
                self.state = State::Deciding(literal);
                (n, Some(Step::Literal(literal)))
            }
            _ => {
                let end = self.line_start + line.len();
                self.bytes.truncate(end);
                self.state = State::Complete;
                (n, Some(Step::Command))
            }
        }
    }

    /// A literal has ended; the line goes on after it.
    fn next_line(&mut self) -> State {
        self.line_start = self.bytes.len();
        State::Line
    }

    /// Gives the command up, in the middle of a line.
    fn skip_line(&mut self, why: Step) {
        self.tail = Tail::EMPTY;
        self.tail.push(&self.bytes[self.line_start..]);
        self.give_up(State::SkipLine(why));
    }

    fn give_up(&mut self, state: State) {
        self.bytes.truncate(KEPT);
        self.bytes.shrink_to_fit();
        self.aside = Vec::new();
        self.line_start = 0;
        self.text = 0;
        self.state = state;
    }

    /// The bytes of the command so far, announcement included, for the session to look at when a literal is announced.
    pub fn partial(&self) -> &[u8] {
        &self.bytes
    }

    /// The tag of the command being read, or of the one just refused. `None` when it is not a proper tag.
    pub fn tag(&self) -> Option<&str> {
        crate::parse::tag_of(&self.bytes)
    }

    /// The word after the tag of the command being read: for UID commands, `UID`.
    pub fn verb(&self) -> Option<&str> {
        crate::parse::verb_of(&self.bytes)
    }

    /// May the literal announced last stay in the frame, by the limits?
    pub fn fits_inline(&self) -> bool {
        match self.state {
            State::Deciding(literal) => usize::try_from(literal.size).is_ok_and(|size| {
                size <= self.limits.inline_literal
                    && self.bytes.len().checked_add(size).is_some_and(|n| n <= self.limits.command)
            }),
            _ => false,
        }
    }

    /// The announced literal becomes part of the frame. Ask [`Self::fits_inline`] first: what does not fit is
    /// read and skipped with its command, and ends in [`Step::Refused`].
    pub fn accept_inline(&mut self) {
        if let State::Deciding(literal) = self.state {
            if self.fits_inline() {
                self.state = State::Inline(clamp(literal.size, usize::MAX));
            } else {
                self.give_up(State::SkipLiteral(literal.size, Step::Refused));
            }
        }
    }

    /// The announced literal comes out as [`Step::Aside`]; the parser sees its index and size.
    pub fn set_aside(&mut self) {
        if let State::Deciding(literal) = self.state {
            self.aside.push(Aside { at: self.bytes.len(), literal });
            self.state = State::Aside(literal.size);
        }
    }

    /// The announced literal is not wanted. A synchronizing one never comes: the command ends here, and the session
    /// answers with its [`Self::tag`]. A non-synchronizing one is skipped with the rest of its command;
    /// [`Step::Refused`] tells when that is done.
    pub fn refuse(&mut self) {
        if let State::Deciding(literal) = self.state {
            let skip = State::SkipLiteral(literal.size, Step::Refused);
            self.give_up(if literal.synchronizing { State::Over } else { skip });
        }
    }

    /// Has no byte of a command been read? Then no buffer is held either, except that up to a kilobyte of a refused
    /// command is kept until the next byte or [`Self::discard`].
    pub fn is_idle(&self) -> bool {
        match self.state {
            State::Line => self.bytes.is_empty(),
            State::Over => true,
            _ => false,
        }
    }

    /// The complete command. Empty unless the last step was [`Step::Command`].
    pub fn take(&mut self) -> Frame {
        if self.state != State::Complete {
            return Frame::default();
        }
        let frame = Frame { bytes: std::mem::take(&mut self.bytes), aside: std::mem::take(&mut self.aside) };
        self.discard();
        frame
    }

    /// Forgets whatever has been read and gives all buffers back. In the middle of a command this loses the
    /// place: only after [`Step::Refused`], [`Step::TooLong`] or [`Self::refuse`] of a synchronizing literal.
    pub fn discard(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Reads one line that is no command: DONE of IDLE, an answer to a SASL challenge. Only between commands.
    /// Returns how many bytes were used and, once its end has come, the line without its line end, or
    /// [`TooLong`] when it has more than `limit` octets.
    pub fn line(&mut self, input: &[u8], limit: usize) -> (usize, Option<Result<Vec<u8>, TooLong>>) {
        if self.state == State::Over {
            self.discard();
        }
        let end = memchr(b'\n', input);
        let n = end.map_or(input.len(), |i| i + 1);
        if self.state != State::SkipRaw {
            // A line end may be two bytes, and neither counts.
            if self.bytes.len() + n > limit.saturating_add(2) {
                self.discard();
                self.state = State::SkipRaw;
            } else {
                self.bytes.extend_from_slice(&input[..n]);
            }
        }
        if end.is_none() {
            return (n, None);
        }
        let skipped = self.state == State::SkipRaw;
        let mut line = std::mem::take(&mut self.bytes);
        self.discard();
        line.truncate(without_line_end(&line).len());
        let line = if skipped || line.len() > limit { Err(TooLong) } else { Ok(line) };
        (n, Some(line))
    }
}

/// The smaller of the two.
fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

/// Without CRLF, or the bare LF that some clients send.
fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The last bytes of a line that is too long to keep: enough for an announcement.
#[derive(Clone, Copy, Debug)]
struct Tail {
    bytes: [u8; 32],
    len: usize,
}

impl Tail {
    const EMPTY: Self = Self { bytes: [0; 32], len: 0 };

    fn push(&mut self, new: &[u8]) {
        let cap = self.bytes.len();
        let new = &new[new.len().saturating_sub(cap)..];
        let keep = self.len.min(cap - new.len());
        self.bytes.copy_within(self.len - keep..self.len, 0);
        self.bytes[keep..keep + new.len()].copy_from_slice(new);
        self.len = keep + new.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
