//! Postfix's tcp_table(5): `get KEY` and a line's end; the reply is a code and a text. Space, `%` and what is not
//! printable is written as `%XX` on both sides.

use crate::Answer;

/// The longest line, both ways, as tcp_table(5) has it.
pub const LONGEST: usize = 4096;

/// The key of a request line (without its end).
pub fn request(line: &[u8]) -> Option<String> {
    let key = line.strip_prefix(b"get ")?;
    if key.is_empty() || key.contains(&b' ') {
        return None;
    }
    String::from_utf8(decode(key)?).ok()
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let (high, low) = (rest.first().and_then(digit)?, rest.get(1).and_then(digit)?);
        out.push(high << 4 | low);
        rest = &rest[2..];
    }
    Some(out)
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'%' | 0..=b' ' | 0x7f.. => format!("%{b:02X}"),
            b => char::from(b).to_string(),
        })
        .collect()
}

/// Writes a reply.
pub fn reply(answer: &Answer, out: &mut Vec<u8>) {
    let line = match answer {
        Answer::Found(value) => format!("200 {}", encode(value)),
        Answer::NotFound => "500 not%20found".to_owned(),
        Answer::Temporary(why) | Answer::Wrong(why) => format!("400 {}", encode(why)),
    };
    // One octet is for the end of the line.
    if line.len() < LONGEST {
        out.extend_from_slice(line.as_bytes());
    } else {
        out.extend_from_slice(b"400 the%20answer%20is%20longer%20than%20a%20line%20may%20be");
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let table: [(&[u8], Option<&str>); 10] = [
            (b"get anna@example.com", Some("anna@example.com")),
            (b"get a%20b@x", Some("a b@x")),
            (b"get %25%c3%a4", Some("%\u{e4}")),
            (b"get ", None),
            (b"get a b", None),
            (b"put a b", None),
            (b"GET a", None),
            (b"get %2", None),
            (b"get %zz", None),
            (b"get %ff", None),
        ];
        for (line, key) in table {
            assert_eq!(request(line).as_deref(), key, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn replies() {
        let written = |answer: Answer| {
            let mut out = Vec::new();
            reply(&answer, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Answer::Found("a@x, b%@y".into())), "200 a@x,%20b%25@y\n");
        assert_eq!(written(Answer::NotFound), "500 not%20found\n");
        assert_eq!(written(Answer::Temporary("come\nback".into())), "400 come%0Aback\n");
        assert_eq!(written(Answer::Found("x".repeat(4091))).len(), 4096);
        assert!(written(Answer::Found("x".repeat(4092))).starts_with("400 the%20answer"));
    }
}
