//! A line for Exim's `readsocket`: `MAP KEY` and a line's end; the reply is a status, a space and a text, then the end
//! of the connection, since Exim reads to the end. The words are socketmap's: `OK`, `NOTFOUND`, `TEMP`, `PERM`.

use crate::{Answer, one_line};

/// The longest line.
pub const LONGEST: usize = 2048;

/// The map and the key of a request line (without its end).
pub fn request(line: &[u8]) -> Option<(&str, &str)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    std::str::from_utf8(line).ok()?.split_once(' ')
}

/// Writes a reply. It has no line's end: Exim would make it part of the value.
pub fn reply(answer: &Answer, out: &mut Vec<u8>) {
    let text = match answer {
        Answer::Found(value) => format!("OK {}", one_line(value)),
        Answer::NotFound => "NOTFOUND".to_owned(),
        Answer::Temporary(why) => format!("TEMP {}", one_line(why)),
        Answer::Wrong(why) => format!("PERM {}", one_line(why)),
    };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies() {
        assert_eq!(request(b"mailbox anna@example.com\r"), Some(("mailbox", "anna@example.com")));
        assert_eq!(request(b"mailbox"), None);
        assert_eq!(request(b"\xff \xff"), None);
        let mut out = Vec::new();
        reply(&Answer::Found("550 5.2.1 a\r\nb".into()), &mut out);
        assert_eq!(out, b"OK 550 5.2.1 a??b");
    }
}
