//! Answers: the status line, listings, challenges.
//!
//! A status line has 512 octets at most (RFC 2449 §3): a longer text is cut between two characters. What is for people is
//! ASCII until the client has chosen a language (RFC 6856 §3.2). Nobody's text can make a second line.

use crate::language::{Language, Text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Octets of a status line with its end.
const LONGEST: usize = 512;

/// `+OK` or `-ERR`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// `+OK`
    Ok,
    /// `-ERR`
    Err,
}

/// A response code (RFC 2449 §8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// The maildrop is in use (RFC 2449 §8.1.2).
    InUse,
    /// The last login was a short time ago (RFC 2449 §8.1.1).
    LoginDelay,
    /// The credentials are at fault (RFC 3206 §5).
    Auth,
    /// We are, for now (RFC 3206 §4).
    SysTemp,
    /// We are, until somebody repairs it (RFC 3206 §4).
    SysPerm,
    /// The message needs UTF-8 mode (RFC 6856 §5).
    Utf8,
}

impl Code {
    /// As it stands between the brackets.
    pub fn word(self) -> &'static str {
        match self {
            Self::InUse => "IN-USE",
            Self::LoginDelay => "LOGIN-DELAY",
            Self::Auth => "AUTH",
            Self::SysTemp => "SYS/TEMP",
            Self::SysPerm => "SYS/PERM",
            Self::Utf8 => "UTF8",
        }
    }
}

/// In which language and characters a session is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Voice {
    /// The language.
    pub language: Language,
    /// Which characters the client takes.
    pub characters: Characters,
}

/// Which characters the client takes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Characters {
    /// ASCII: LANG was not given.
    #[default]
    Ascii,
    /// UTF-8: it was.
    Utf8,
}

/// A status line.
pub fn status(out: &mut Vec<u8>, voice: Voice, status: Status, code: Option<Code>, text: &Text<'_>) {
    let start = out.len();
    begin(out, status, code);
    human(out, start, voice, &text.say(voice.language), code.is_none());
    out.extend_from_slice(b"\r\n");
}

/// `+OK` with what programs read, such as `2 320`, and nothing for people behind it.
pub fn facts(out: &mut Vec<u8>, facts: &[&[u8]]) {
    out.extend_from_slice(b"+OK");
    for fact in facts {
        out.push(b' ');
        out.extend_from_slice(fact);
    }
    out.extend_from_slice(b"\r\n");
}

/// `+OK`, the tag of a language, and a text in it (RFC 6856 §3.2).
pub fn language_chosen(out: &mut Vec<u8>, language: Language, text: &Text<'_>) {
    let start = out.len();
    begin(out, Status::Ok, None);
    out.push(b' ');
    out.extend_from_slice(language.tag().as_bytes());
    let voice = Voice { language, characters: Characters::Utf8 };
    human(out, start, voice, &text.say(language), false);
    out.extend_from_slice(b"\r\n");
}

/// The greeting, with APOP's timestamp if APOP is offered (RFC 1939 §7).
pub fn greeting(out: &mut Vec<u8>, timestamp: Option<&str>) {
    let start = out.len();
    begin(out, Status::Ok, None);
    human(out, start, Voice::default(), &Text::Ready.say(Language::English), true);
    if let Some(timestamp) = timestamp {
        out.push(b' ');
        out.extend_from_slice(timestamp.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// A challenge of AUTH (RFC 5034 §4): always with the blank.
pub fn challenge(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(BASE64.encode(octets).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A line of LIST: number and size.
pub fn scan_listing(out: &mut Vec<u8>, message: u32, octets: u64) {
    number(out, u64::from(message));
    out.push(b' ');
    number(out, octets);
    out.extend_from_slice(b"\r\n");
}

/// A line of UIDL: number and identifier.
pub fn unique_id_listing(out: &mut Vec<u8>, message: u32, identifier: &[u8]) {
    number(out, u64::from(message));
    out.push(b' ');
    out.extend_from_slice(identifier);
    out.extend_from_slice(b"\r\n");
}

/// The end of an answer of several lines.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b".\r\n");
}

/// A decimal number.
pub fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn begin(out: &mut Vec<u8>, status: Status, code: Option<Code>) {
    out.extend_from_slice(match status {
        Status::Ok => b"+OK",
        Status::Err => b"-ERR",
    });
    if let Some(code) = code {
        out.extend_from_slice(b" [");
        out.extend_from_slice(code.word().as_bytes());
        out.push(b']');
    }
}

/// A blank and the text, as much of it as the line may have.
fn human(out: &mut Vec<u8>, start: usize, voice: Voice, text: &str, may_be_code: bool) {
    if text.is_empty() {
        return;
    }
    out.push(b' ');
    let first = out.len();
    let mut buffer = [0; 4];
    for c in text.chars() {
        let c = match c {
            // RFC 2449 §6.4: a bracket at the start would be a response code.
            '[' if may_be_code && out.len() == first => '(',
            ' '..='~' => c,
            c if c.is_control() => ' ',
            c if voice.characters == Characters::Utf8 => c,
            _ => '?',
        };
        let octets = c.encode_utf8(&mut buffer).as_bytes();
        if out.len() - start + octets.len() + 2 > LONGEST {
            break;
        }
        out.extend_from_slice(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(voice: Voice, code: Option<Code>, text: &str) -> String {
        let mut out = Vec::new();
        status(&mut out, voice, Status::Err, code, &Text::Other(text));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_status_line_is_one_line_of_512_octets_at_most() {
        let utf8 = Voice { language: Language::German, characters: Characters::Utf8 };
        assert_eq!(said(Voice::default(), Some(Code::SysTemp), "x\r\n+OK ü"), "-ERR [SYS/TEMP] x  +OK ?\r\n");
        assert_eq!(said(utf8, None, "[AUTH] ü"), "-ERR (AUTH] ü\r\n");
        for len in 480..520 {
            let line = said(utf8, None, &format!("{}ü", "x".repeat(len)));
            assert!(line.len() <= 512 && line.ends_with("\r\n"), "{len}");
        }
    }

    /// RFC 1939 §5, §7; RFC 5034 §4.
    #[test]
    fn listings() {
        let mut out = Vec::new();
        facts(&mut out, &[b"2", b"320"]);
        scan_listing(&mut out, 1, 120);
        unique_id_listing(&mut out, 2, b"QhdPYR:00WBw1Ph7x7");
        end(&mut out);
        challenge(&mut out, b"");
        challenge(&mut out, b"Username:");
        number(&mut out, u64::MAX);
        assert_eq!(
            out,
            b"+OK 2 320\r\n1 120\r\n2 QhdPYR:00WBw1Ph7x7\r\n.\r\n+ \r\n+ VXNlcm5hbWU6\r\n18446744073709551615"
        );
        out.clear();
        greeting(&mut out, Some("<1896.697170952@dbc.mtview.ca.us>"));
        assert!(out.starts_with(b"+OK ") && out.ends_with(b" <1896.697170952@dbc.mtview.ca.us>\r\n"));
    }
}
