//! Commands (RFC 5321 §4.1.1, RFC 2033 §4) with the parameters of their extensions.
//!
//! Parsing answers with a command or with the reply to send: what is wrong decides the code (RFC 5321 §4.2.4, §4.3.2), and
//! nothing that is wrong ends the session.

use crate::address::{Address, ReversePath, path, reverse_path};
use crate::reply::Reply;
use crate::xtext;
use culver_base::Cursor;

/// The longest command line, without its end. RFC 5321 §4.5.3.1.4 asks for 512 octets, the extensions for 1,500 more;
/// addresses in UTF-8 can be longer.
pub const LONGEST_LINE: usize = 4096;

/// A command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// LHLO and who says it.
    Lhlo(String),
    /// HELO or EHLO: another protocol (RFC 2033 §4.1).
    Smtp,
    /// MAIL FROM.
    Mail(Mail),
    /// RCPT TO.
    Rcpt(Rcpt),
    /// DATA
    Data,
    /// BDAT (RFC 3030 §2): so many octets follow.
    Bdat {
        /// Octets.
        size: u64,
        /// Is it the last chunk?
        last: bool,
    },
    /// RSET
    Rset,
    /// NOOP
    Noop,
    /// VRFY, with what is asked for.
    Vrfy(String),
    /// HELP
    Help,
    /// QUIT
    Quit,
    /// STARTTLS (RFC 3207 §4).
    StartTls,
    /// XCLIENT: for whom the peer speaks.
    Xclient(Vec<Attribute>),
}

/// MAIL FROM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mail {
    /// The sender.
    pub from: ReversePath,
    /// SIZE (RFC 1870 §5): octets, as far as the client knows.
    pub size: Option<u64>,
    /// BODY
    pub body: Body,
    /// SMTPUTF8 (RFC 6531 §3.4)
    pub utf8: bool,
    /// RET (RFC 3461 §4.3)
    pub ret: Option<Ret>,
    /// ENVID (RFC 3461 §4.4), decoded.
    pub envid: Option<String>,
}

/// RET (RFC 3461 §4.3): what a notice of failure should hold of the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Hdrs,
}

/// BODY (RFC 6152 §2, RFC 3030 §3).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Body {
    /// 7BIT, which nobody is held to.
    #[default]
    SevenBit,
    /// 8BITMIME
    EightBitMime,
    /// BINARYMIME: any octets, by BDAT only.
    BinaryMime,
}

/// RCPT TO.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rcpt {
    /// The recipient.
    pub to: Address,
    /// NOTIFY (RFC 3461 §4.1)
    pub notify: Option<Notify>,
    /// ORCPT (RFC 3461 §4.2): type and address, decoded.
    pub orcpt: Option<(String, String)>,
    /// XMAILBOX: the mailbox to deliver to, from trusted peers.
    pub mailbox: Option<String>,
}

/// NOTIFY (RFC 3461 §4.1); none of the three is NEVER.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Notify {
    /// SUCCESS
    pub success: bool,
    /// FAILURE
    pub failure: bool,
    /// DELAY
    pub delay: bool,
}

/// An attribute of XCLIENT, with its value decoded; `None` when the peer does not know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    /// Its name, in capitals.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
}

/// The names that XCLIENT may give.
pub const ATTRIBUTES: &[&str] =
    &["ADDR", "PORT", "NAME", "PROTO", "HELO", "LOGIN", "SESSION", "DESTADDR", "DESTPORT", "TTL", "TIMEOUT"];

fn wrong(text: &str) -> Reply {
    Reply::new(501, 5, 4, text)
}

/// Parses a line without its end.
///
/// # Errors
/// With the reply to send.
pub fn parse(line: &[u8]) -> Result<Command, Reply> {
    let mut c = Cursor::new(line);
    let verb = c.take_while(|b| b.is_ascii_alphanumeric()).to_ascii_uppercase();
    let bare = |command: Command, c: &Cursor<'_>| {
        if c.rest().iter().all(|b| *b == b' ') {
            Ok(command)
        } else {
            Err(wrong("This command takes no arguments"))
        }
    };
    match verb.as_slice() {
        b"LHLO" => lhlo(&mut c),
        b"HELO" | b"EHLO" => Ok(Command::Smtp),
        b"MAIL" => mail(&mut c),
        b"RCPT" => rcpt(&mut c),
        b"DATA" => bare(Command::Data, &c),
        b"BDAT" => bdat(&mut c),
        b"RSET" => bare(Command::Rset, &c),
        // RFC 5321 §4.1.1.9: a parameter is ignored.
        b"NOOP" if ends_word(&c) => Ok(Command::Noop),
        b"HELP" if ends_word(&c) => Ok(Command::Help),
        b"VRFY" if ends_word(&c) => match std::str::from_utf8(c.rest()).map(str::trim) {
            Ok("") | Err(_) => Err(wrong("Say whom: VRFY user@domain")),
            Ok(text) => Ok(Command::Vrfy(text.to_owned())),
        },
        b"QUIT" => bare(Command::Quit, &c),
        b"STARTTLS" => bare(Command::StartTls, &c),
        b"XCLIENT" => xclient(&mut c),
        _ => Err(Reply::new(500, 5, 2, "This is no command of LMTP")),
    }
}

fn ends_word(c: &Cursor<'_>) -> bool {
    matches!(c.peek(), None | Some(b' '))
}

/// RFC 5321 §4.1.1.1: a domain or an address literal. Any word is taken: it proves nothing and goes into Received only.
fn lhlo(c: &mut Cursor<'_>) -> Result<Command, Reply> {
    let text = std::str::from_utf8(c.rest()).map(str::trim).unwrap_or_default();
    let fits = c.peek() == Some(b' ') && !text.is_empty() && text.len() <= 255;
    if fits && text.chars().all(|c| !c.is_control() && !c.is_whitespace()) {
        Ok(Command::Lhlo(text.to_owned()))
    } else {
        Err(wrong("Say who you are: LHLO name"))
    }
}

fn mail(c: &mut Cursor<'_>) -> Result<Command, Reply> {
    if !c.take_nocase(" FROM:") {
        return Err(wrong("Write MAIL FROM:<sender>"));
    }
    // Not of the grammar, and widespread (RFC 5321 §3.3).
    c.take_while(|b| b == b' ');
    let Some(from) = reverse_path(c) else {
        return Err(Reply::new(
            501,
            1,
            7,
            "The sender is no address: write MAIL FROM:<user@domain> or MAIL FROM:<>",
        ));
    };
    let mut mail = Mail { from, size: None, body: Body::default(), utf8: false, ret: None, envid: None };
    let mut seen = Vec::new();
    while let Some((name, value)) = parameter(c, &mut seen)? {
        match (name.as_str(), value) {
            ("SIZE", Some(value)) => {
                let octets =
                    (value.len() <= 20).then(|| Cursor::new(value).number(u64::MAX, "octets").ok()).flatten();
                let all = value.iter().all(u8::is_ascii_digit);
                mail.size = Some(octets.filter(|_| all).ok_or_else(|| wrong("SIZE is a number of octets"))?);
            }
            ("BODY", Some(value)) => {
                mail.body = match value.to_ascii_uppercase().as_slice() {
                    b"7BIT" => Body::SevenBit,
                    b"8BITMIME" => Body::EightBitMime,
                    b"BINARYMIME" => Body::BinaryMime,
                    _ => return Err(wrong("BODY is 7BIT, 8BITMIME or BINARYMIME")),
                }
            }
            // RFC 6531 §3.4: it has no value.
            ("SMTPUTF8", None) => mail.utf8 = true,
            ("SMTPUTF8", Some(_)) => return Err(wrong("SMTPUTF8 has no value")),
            ("RET", Some(value)) => {
                mail.ret = Some(match value.to_ascii_uppercase().as_slice() {
                    b"FULL" => Ret::Full,
                    b"HDRS" => Ret::Hdrs,
                    _ => return Err(wrong("RET is FULL or HDRS")),
                });
            }
            ("ENVID", Some(value)) => {
                // RFC 3461 §4.4: 100 characters at most.
                let text = xtext::decode(value).filter(|_| value.len() <= 100);
                let text = text.and_then(|t| String::from_utf8(t).ok());
                mail.envid = Some(text.ok_or_else(|| wrong("ENVID is xtext of 100 characters at most"))?);
            }
            _ => return Err(unknown(&name)),
        }
    }
    // RFC 6531 §3.5
    if !mail.utf8 && mail.from.address().is_some_and(Address::is_international) {
        return Err(Reply::new(
            550,
            6,
            7,
            "The sender's address is not ASCII, which needs the parameter SMTPUTF8",
        ));
    }
    Ok(Command::Mail(mail))
}

fn rcpt(c: &mut Cursor<'_>) -> Result<Command, Reply> {
    if !c.take_nocase(" TO:") {
        return Err(wrong("Write RCPT TO:<recipient>"));
    }
    c.take_while(|b| b == b' ');
    let Some(to) = path(c) else {
        return Err(Reply::new(501, 1, 3, "The recipient is no address: write RCPT TO:<user@domain>"));
    };
    let mut rcpt = Rcpt { to, notify: None, orcpt: None, mailbox: None };
    let mut seen = Vec::new();
    while let Some((name, value)) = parameter(c, &mut seen)? {
        match (name.as_str(), value) {
            ("NOTIFY", Some(value)) => rcpt.notify = Some(notify(value)?),
            ("ORCPT", Some(value)) => {
                let parts = memchr::memchr(b';', value).filter(|_| value.len() <= 500);
                let parts = parts.and_then(|at| {
                    let kind = std::str::from_utf8(&value[..at]).ok().filter(|k| !k.is_empty())?;
                    // RFC 6533 §3: utf-8 addresses come as they are, or in an encoding of their own; neither is looked into.
                    let address = xtext::decode(&value[at + 1..]).unwrap_or_else(|| value[at + 1..].to_vec());
                    Some((kind.to_ascii_lowercase(), String::from_utf8(address).ok()?))
                });
                rcpt.orcpt =
                    Some(parts.ok_or_else(|| wrong("ORCPT is a type, a semicolon and an address as xtext"))?);
            }
            ("XMAILBOX", Some(value)) => {
                let name =
                    xtext::decode(value).and_then(|t| String::from_utf8(t).ok()).filter(|t| !t.is_empty());
                rcpt.mailbox = Some(name.ok_or_else(|| wrong("XMAILBOX is the name of a mailbox as xtext"))?);
            }
            _ => return Err(unknown(&name)),
        }
    }
    Ok(Command::Rcpt(rcpt))
}

/// RFC 3461 §4.1: NEVER stands alone, the others at most once each.
fn notify(value: &[u8]) -> Result<Notify, Reply> {
    let refuse = || wrong("NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY with commas between");
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case(b"NEVER") {
        return Ok(notify);
    }
    for word in value.split(|b| *b == b',') {
        let flag = match word.to_ascii_uppercase().as_slice() {
            b"SUCCESS" => &mut notify.success,
            b"FAILURE" => &mut notify.failure,
            b"DELAY" => &mut notify.delay,
            _ => return Err(refuse()),
        };
        if std::mem::replace(flag, true) {
            return Err(refuse());
        }
    }
    Ok(notify)
}

/// An esmtp-param: its name in capitals, and its value.
type Parameter<'a> = (String, Option<&'a [u8]>);

/// The next one.
fn parameter<'a>(c: &mut Cursor<'a>, seen: &mut Vec<String>) -> Result<Option<Parameter<'a>>, Reply> {
    let blanks = c.take_while(|b| b == b' ');
    if c.is_at_end() {
        return Ok(None);
    }
    let name = c.take_while(|b| b.is_ascii_alphanumeric() || b == b'-').to_ascii_uppercase();
    let name = String::from_utf8(name).unwrap_or_default();
    if blanks.is_empty() || name.is_empty() || name.starts_with('-') {
        return Err(wrong("What follows the address is no parameter"));
    }
    let value = if c.take(b'=') {
        // esmtp-value, and UTF-8.
        let value = c.take_while(|b| matches!(b, 0x21..=0x7e | 0x80..));
        if value.is_empty() {
            return Err(wrong(&format!("{name} has no value")));
        }
        Some(value)
    } else {
        None
    };
    if seen.contains(&name) {
        return Err(wrong(&format!("{name} is given twice")));
    }
    seen.push(name.clone());
    Ok(Some((name, value)))
}

/// RFC 5321 §4.1.1.11
fn unknown(name: &str) -> Reply {
    Reply::new(555, 5, 4, format!("The parameter {name} is not known here, or not so"))
}

fn bdat(c: &mut Cursor<'_>) -> Result<Command, Reply> {
    let refuse = || wrong("Write BDAT, the number of octets, and LAST behind the last");
    c.take_while(|b| b == b' ');
    let size = c.number(u64::MAX, "octets").map_err(|_| refuse())?;
    let blanks = c.take_while(|b| b == b' ');
    let last = !blanks.is_empty() && c.take_nocase("LAST");
    c.take_while(|b| b == b' ');
    if c.is_at_end() { Ok(Command::Bdat { size, last }) } else { Err(refuse()) }
}

fn xclient(c: &mut Cursor<'_>) -> Result<Command, Reply> {
    let mut attributes = Vec::new();
    loop {
        c.take_while(|b| b == b' ');
        if c.is_at_end() {
            break;
        }
        let name = c.take_while(|b| b.is_ascii_alphanumeric()).to_ascii_uppercase();
        let name = String::from_utf8(name).unwrap_or_default();
        let value = if c.take(b'=') { c.take_while(|b| b != b' ') } else { &[] };
        let value = xtext::decode(value).and_then(|v| String::from_utf8(v).ok());
        let Some(value) =
            value.filter(|v| !v.is_empty() && v.len() <= 255 && !v.chars().any(char::is_control))
        else {
            return Err(wrong("XCLIENT is followed by NAME=value, values as xtext"));
        };
        if !ATTRIBUTES.contains(&name.as_str()) {
            return Err(wrong(&format!("XCLIENT has no attribute {name}")));
        }
        let absent =
            value.eq_ignore_ascii_case("[UNAVAILABLE]") || value.eq_ignore_ascii_case("[TEMPUNAVAIL]");
        attributes.push(Attribute { name, value: (!absent).then_some(value) });
    }
    if attributes.is_empty() {
        return Err(wrong("XCLIENT is followed by NAME=value"));
    }
    Ok(Command::Xclient(attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> Option<(u16, String)> {
        parse(line.as_bytes()).err().map(|r| (r.code, r.enhanced.unwrap().to_string()))
    }

    #[test]
    fn mail_and_its_parameters() {
        // RFC 1870 §7 and RFC 3461 §4, RFC 3030 §4.2, in one.
        let line =
            "MAIL FROM:<ned@thor.innosoft.com> SIZE=500000 BODY=BINARYMIME RET=HDRS ENVID=QQ314159 SMTPUTF8";
        let Ok(Command::Mail(mail)) = parse(line.as_bytes()) else { panic!() };
        assert_eq!(mail.from.to_string(), "ned@thor.innosoft.com");
        assert_eq!((mail.size, mail.body, mail.utf8), (Some(500_000), Body::BinaryMime, true));
        assert_eq!((mail.ret, mail.envid.as_deref()), (Some(Ret::Hdrs), Some("QQ314159")));
        assert!(matches!(parse(b"mail from: <>"), Ok(Command::Mail(Mail { from: ReversePath::Null, .. }))));
        for (line, expected) in [
            ("MAIL FROM:<a@b> SIZE=x", (501, "5.5.4")),
            ("MAIL FROM:<a@b> SIZE=18446744073709551616", (501, "5.5.4")),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=2", (501, "5.5.4")),
            ("MAIL FROM:<a@b> BODY=9BIT", (501, "5.5.4")),
            ("MAIL FROM:<a@b> FOO=BAR", (555, "5.5.4")),
            ("MAIL FROM:<a@b>SIZE=1", (501, "5.5.4")),
            ("MAIL FROM:<a b@c>", (501, "5.1.7")),
            ("MAIL FROM:a@c", (501, "5.1.7")),
            ("MAIL", (501, "5.5.4")),
            ("MAIL FROM:<jürgen@example.org>", (550, "5.6.7")),
        ] {
            assert_eq!(code(line), Some((expected.0, expected.1.to_owned())), "{line}");
        }
        assert_eq!(code("MAIL FROM:<jürgen@example.org> SMTPUTF8"), None);
    }

    #[test]
    fn rcpt_and_its_parameters() {
        // RFC 3461 §4.2's example form.
        let line = "RCPT TO:<Dana@Ivory.EDU> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2BX@Big-Bucks.COM XMAILBOX=a+20b";
        let Ok(Command::Rcpt(rcpt)) = parse(line.as_bytes()) else { panic!() };
        assert_eq!(rcpt.to.to_string(), "Dana@Ivory.EDU");
        assert_eq!(rcpt.notify, Some(Notify { success: true, failure: true, delay: false }));
        assert_eq!(rcpt.orcpt, Some(("rfc822".into(), "Bob+X@Big-Bucks.COM".into())));
        assert_eq!(rcpt.mailbox.as_deref(), Some("a b"));
        for bad in ["NOTIFY=NEVER,SUCCESS", "NOTIFY=", "NOTIFY=SUCCESS,SUCCESS", "ORCPT=x", "XMAILBOX=+F"] {
            assert_eq!(code(&format!("RCPT TO:<a@b> {bad}")), Some((501, "5.5.4".into())), "{bad}");
        }
        assert_eq!(code("RCPT TO:<>"), Some((501, "5.1.3".into())));
    }

    #[test]
    fn the_others() {
        assert_eq!(parse(b"LHLO  mx.example.org "), Ok(Command::Lhlo("mx.example.org".into())));
        assert_eq!(parse(b"ehlo x"), Ok(Command::Smtp));
        assert_eq!(parse(b"BDAT 86 LAST"), Ok(Command::Bdat { size: 86, last: true }));
        assert_eq!(parse(b"BDAT 0"), Ok(Command::Bdat { size: 0, last: false }));
        assert_eq!(parse(b"noop anything"), Ok(Command::Noop));
        assert_eq!(parse(b"QUIT "), Ok(Command::Quit));
        let Ok(Command::Xclient(list)) = parse(b"XCLIENT NAME=spike+2Eexample ADDR=[UNAVAILABLE]") else {
            panic!()
        };
        assert_eq!(list[0].value.as_deref(), Some("spike.example"));
        assert_eq!(list[1].value, None);
        for bad in [
            "",
            "X",
            "NOOPS",
            "LHLO",
            "LHLO a b",
            "DATA x",
            "BDAT x",
            "BDAT 1 2",
            "QUIT now",
            "XCLIENT",
            "XCLIENT FOO=1",
        ] {
            assert!(code(bad).is_some(), "{bad}");
        }
        assert!(parse(b"\xff\xfe").is_err());
    }
}
