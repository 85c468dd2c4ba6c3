//! Surrogates for messages with UTF-8 in their header, for clients that have not said UTF8 (RFC 6856 §2.1, RFC 6855 §7).
//!
//! The header becomes ASCII: words of text become encoded-words (RFC 2047), a mailbox whose address itself is not ASCII
//! becomes an empty group whose name says what it was, so that nobody can reply to what is not an address. The body is
//! left alone: 8bit bodies were always sent. A field whose octets are not UTF-8 is left alone as well: such mail is older
//! than UTF-8 mode and every client has its own guess at it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Octets of text in one encoded-word: with `=?utf-8?B?` and `?=` it has 75 characters at most (RFC 2047 §2).
const WORD: usize = 45;

/// Fields that hold addresses.
const ADDRESSES: [&[u8]; 12] = [
    b"from",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"bcc",
    b"resent-from",
    b"resent-sender",
    b"resent-to",
    b"resent-cc",
    b"resent-bcc",
    b"disposition-notification-to",
];

/// The surrogate of a header; `None` when it needs none.
pub fn header(header: &[u8]) -> Option<Vec<u8>> {
    if header.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(header.len() * 3 / 2);
    let (mut rest, mut changed) = (header, false);
    while !rest.is_empty() {
        let (field, behind) = rest.split_at(field_len(rest));
        rest = behind;
        match std::str::from_utf8(field) {
            Ok(text) if !text.is_ascii() => {
                changed = true;
                of_field(text, &mut out);
            }
            _ => out.extend_from_slice(field),
        }
    }
    changed.then_some(out)
}

/// Octets of a field with its folded lines.
fn field_len(header: &[u8]) -> usize {
    for end in memchr::memchr_iter(b'\n', header) {
        if !matches!(header.get(end + 1), Some(b' ' | b'\t')) {
            return end + 1;
        }
    }
    header.len()
}

fn of_field(field: &str, out: &mut Vec<u8>) {
    let Some((name, value)) = field.split_once(':').filter(|(name, _)| name.is_ascii()) else {
        return out.extend(field.chars().map(plain));
    };
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let unfolded: String = value.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let name = name.trim_ascii().to_ascii_lowercase();
    if ADDRESSES.contains(&name.as_bytes()) {
        for (i, mailbox) in split(&unfolded, ',').into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            of_mailbox(mailbox, out);
        }
    } else if name.starts_with("content-") {
        // Parameters have no encoded-words, and what a name of a file says does not matter to what is in it.
        out.extend(unfolded.chars().map(plain));
    } else {
        words(&unfolded, out);
    }
    out.extend_from_slice(b"\r\n");
}

fn plain(c: char) -> u8 {
    if c.is_ascii() { c as u8 } else { b'?' }
}

/// At `by`, outside of quotes, comments and angle brackets.
fn split(text: &str, by: char) -> Vec<&str> {
    let (mut out, mut from) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_u32);
    for (at, c) in text.char_indices() {
        match c {
            _ if std::mem::take(&mut escaped) => {}
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '(' | '<' if !quoted => depth += 1,
            ')' | '>' if !quoted => depth = depth.saturating_sub(1),
            c if c == by && !quoted && depth == 0 => {
                out.push(&text[from..at]);
                from = at + c.len_utf8();
            }
            _ => {}
        }
    }
    out.push(&text[from..]);
    out
}

fn of_mailbox(mailbox: &str, out: &mut Vec<u8>) {
    if mailbox.is_ascii() {
        return out.extend_from_slice(mailbox.as_bytes());
    }
    let angle = split(mailbox, '<').len() == 1 && mailbox.contains('<');
    let open = angle.then(|| mailbox.rfind('<')).flatten();
    out.push(b' ');
    match open.map(|at| mailbox.split_at(at)) {
        Some((phrase, address)) if address.is_ascii() => {
            encoded(unquoted(phrase).trim(), out);
            out.push(b' ');
            out.extend_from_slice(address.as_bytes());
        }
        None if mailbox.contains('(') && mailbox.split('(').next().is_some_and(str::is_ascii) => {
            let (address, comment) = mailbox.split_once('(').unwrap_or((mailbox, ""));
            out.extend_from_slice(address.trim_start().as_bytes());
            out.push(b'(');
            encoded(comment.trim_end().trim_end_matches(')'), out);
            out.push(b')');
        }
        _ => {
            // Nothing can be sent to it.
            encoded(unquoted(mailbox.trim()).trim(), out);
            out.extend_from_slice(b" :;");
        }
    }
}

/// Without quotes and what escapes in them.
fn unquoted(phrase: &str) -> String {
    let mut out = String::with_capacity(phrase.len());
    let mut chars = phrase.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {}
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

/// Runs of words that are not ASCII become encoded-words, with the blanks between them.
fn words(text: &str, out: &mut Vec<u8>) {
    let mut run: Option<String> = None;
    for word in text.split_inclusive([' ', '\t']) {
        match &mut run {
            Some(run) if !word.is_ascii() => run.push_str(word),
            None if !word.is_ascii() => run = Some(word.to_owned()),
            _ => {
                if let Some(run) = run.take() {
                    end_run(&run, out);
                }
                out.extend_from_slice(word.as_bytes());
            }
        }
    }
    if let Some(run) = run {
        end_run(&run, out);
    }
}

fn end_run(run: &str, out: &mut Vec<u8>) {
    let text = run.trim_end_matches([' ', '\t']);
    encoded(text, out);
    out.extend_from_slice(&run.as_bytes()[text.len()..]);
}

/// As encoded-words, folded.
fn encoded(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, behind) = rest.split_at(end);
        out.extend_from_slice(b"=?utf-8?B?");
        out.extend_from_slice(BASE64.encode(piece).as_bytes());
        out.extend_from_slice(b"?=");
        rest = behind;
        if !rest.is_empty() {
            out.extend_from_slice(b"\r\n ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Option<String> {
        header(text.as_bytes()).map(|h| String::from_utf8(h).expect("ASCII"))
    }

    /// BASE64 by hand: `Grüße` is 47 72 c3 bc c3 9f 65.
    #[test]
    fn text_becomes_encoded_words() {
        assert_eq!(made("Subject: hello\r\n\r\n"), None);
        assert_eq!(
            made("Subject: viele Grüße von hier\r\nX: y\r\n\r\n").as_deref(),
            Some("Subject: viele =?utf-8?B?R3LDvMOfZQ==?= von hier\r\nX: y\r\n\r\n")
        );
        let long = made(&format!("Subject: {}\r\n\r\n", "ü".repeat(100))).unwrap();
        assert!(long.lines().all(|l| l.len() <= 78 + "Subject:".len()), "{long}");
        // Octets that are no UTF-8 are left alone.
        assert_eq!(header(b"Subject: Gr\xfc\xdfe\r\n\r\n"), None);
    }

    #[test]
    fn addresses_stay_addresses_or_become_empty_groups() {
        for (value, want) in [
            (
                "\"Meier, Jörg\" <a@b.example>, c@d.example",
                " =?utf-8?B?TWVpZXIsIErDtnJn?= <a@b.example>, c@d.example",
            ),
            ("Jörg <jörg@b.example>", " =?utf-8?B?SsO2cmcgPGrDtnJnQGIuZXhhbXBsZT4=?= :;"),
            ("jörg@b.example", " =?utf-8?B?asO2cmdAYi5leGFtcGxl?= :;"),
            ("a@b.example (Jörg)", " a@b.example (=?utf-8?B?SsO2cmc=?=)"),
        ] {
            assert_eq!(made(&format!("To: {value}\r\n\r\n")).unwrap(), format!("To:{want}\r\n\r\n"));
        }
        assert_eq!(
            made("Content-Disposition: attachment;\r\n filename=\"ü.txt\"\r\n\r\n").unwrap(),
            "Content-Disposition: attachment; filename=\"?.txt\"\r\n\r\n"
        );
    }
}
