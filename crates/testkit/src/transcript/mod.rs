//! Transcripts: tests of a protocol as text that a mail admin can read.
//!
//! ```text
//! # What fails UNCHANGEDSINCE is named in MODIFIED; the rest is stored.
//! rfc: 7162 §3.1.3      needs: CONDSTORE      box: four.mbox
//!
//! C1: a UID FETCH 4 (MODSEQ)
//! S1: * 4 FETCH (UID 4 MODSEQ ($old))
//! C2: b UID STORE 4 +FLAGS (\Seen)
//! C1: c UID STORE 3:4 (UNCHANGEDSINCE $old) +FLAGS (\Flagged)
//! S1: c OK [MODIFIED 4]
//! N1: EXPUNGE
//! ```
//!
//! **Head.** The first comment is the subject. Then `name: value`, several on a line when two or more blanks stand
//! between: `rfc:`; `needs:` capabilities; `box:` a fixture of `tests/mail` with which INBOX is filled; it is selected
//! in every session, unless `select: no`; `login: no`; `untagged: ordered`; `tls: yes`; `dovecot: differs, because ...`
//! or `dovecot: not run, ...` (the rest of the line).
//!
//! **Steps.** `C1:` sends a line in session 1, waits for the end of its command, and compares with the `S1:` lines
//! below. Without a tagged line there, OK is expected. If the last `S1:` is a `+` line, the next `C1:` continues
//! the same command. `P1:` is sent together with the next `C1:`, in one packet. `U1:` is sent again and again until the
//! `S1:` lines have come. `R1:` sends bytes with escapes and without line end, and waits for the `S1:` lines only.
//! `S2:` below a command of session 1 waits for what session 2 hears unasked. `S1: closed` is the end of the
//! connection. `N1:` must not come: a word anywhere in the answers, or a response when it begins with `*`. `X:` is
//! another program working on the Maildir, see [`actor`].
//!
//! **In what is sent**: `{{text}}` is a literal (`{{+text}}` without waiting for the go-ahead, `{{~text}}` a literal8);
//! it knows `\r \n \t \0 \\ \xHH`; `{{@four.mbox:2}}` is a fixture; a line that ends in `{{` begins a literal of
//! lines, indented by two blanks, up to the line that begins with `}}`. `%{x*1000}` repeats; `%b64{...}` is BASE64.
//! `$x` is what was bound; `$x+1` is a number more; `$user`, `$password`, `$local`, `$domain` are of the account.
//!
//! **In what is expected**: `$x` binds or must be equal; also inside a word (`$a:$b`). `?` is any one value, `...` any
//! rest of a list. `>$x` is greater; `$y>$x` binds as well. `~"text"` is a string that contains it. `!WORD` must not be
//! in a list of attributes or capabilities. `a NO|BAD` is either. `gone 2:3` are EXPUNGEs in any order
//! that take away these messages. Human text is not compared. Untagged lines match in
//! any order, and others may come between; items of FETCH, STATUS and ESEARCH, flags, and sequence sets are compared
//! by meaning; FETCH may also say UID, FLAGS or MODSEQ unasked; `\Recent` counts only where it is named.

pub mod actor;
mod expand;
mod parse;
mod pattern;
pub mod pop3;
mod run;

pub use parse::{Transcript, load};
pub use run::{Outcome, run, run_all};
