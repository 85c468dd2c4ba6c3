//! Postfix's socketmap_table(5): a request is the netstring `MAP KEY`, a reply the netstring `STATUS DATA`.

use crate::{Answer, one_line};

/// The longest request: a map's name and an address, with room. Postfix has no limit of its own.
pub const LONGEST: usize = 2048;

/// The longest reply that Postfix takes (`socketmap_max_reply_size`).
const LONGEST_REPLY: usize = 100_000;

/// What stands at the front of the input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Netstring<'a> {
    /// Not all of it has come.
    More,
    /// A netstring's content, and how many octets it took with its frame.
    Whole(&'a [u8], usize),
    /// It is none, or too long.
    Malformed,
}

/// Reads a netstring: its length in decimal digits, `:`, so many octets, `,`.
pub fn netstring(input: &[u8]) -> Netstring<'_> {
    let digits = input.iter().take_while(|b| b.is_ascii_digit()).count();
    // No netstring has zeros at the front of its length.
    if digits > 4 || (digits > 1 && input[0] == b'0') {
        return Netstring::Malformed;
    }
    let Some(&colon) = input.get(digits) else { return Netstring::More };
    if digits == 0 || colon != b':' {
        return Netstring::Malformed;
    }
    let length = input[..digits].iter().fold(0_usize, |n, b| n * 10 + usize::from(b - b'0'));
    if length > LONGEST {
        return Netstring::Malformed;
    }
    let start = digits + 1;
    match input.get(start + length) {
        None => Netstring::More,
        Some(b',') => Netstring::Whole(&input[start..start + length], start + length + 1),
        Some(_) => Netstring::Malformed,
    }
}

/// The map and the key of a request.
pub fn request(content: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(content).ok()?.split_once(' ')
}

/// Writes a reply.
pub fn reply(answer: &Answer, out: &mut Vec<u8>) {
    let text = match answer {
        Answer::Found(value) if value.len() + 3 <= LONGEST_REPLY => format!("OK {}", one_line(value)),
        Answer::Found(_) => "PERM the answer is longer than Postfix takes: make fewer targets".to_owned(),
        Answer::NotFound => "NOTFOUND ".to_owned(),
        Answer::Temporary(why) => format!("TEMP {}", one_line(why)),
        Answer::Wrong(why) => format!("PERM {}", one_line(why)),
    };
    out.extend_from_slice(format!("{}:{text},", text.len()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstrings() {
        // The example of the specification of netstrings, and edges.
        let hello = b"12:hello world!,";
        assert_eq!(netstring(hello), Netstring::Whole(b"hello world!", 16));
        for cut in 0..hello.len() {
            assert_eq!(netstring(&hello[..cut]), Netstring::More, "{cut}");
        }
        assert_eq!(netstring(b"0:,x"), Netstring::Whole(b"", 3));
        for bad in [&b":x,"[..], b"x", b"2:ab;", b"02:ab,", b"99999:", b"2049:", b"1a:", b"-1:", b" 1:a,"] {
            assert_eq!(netstring(bad), Netstring::Malformed, "{}", bad.escape_ascii());
        }
        assert_eq!(netstring(b"2048:"), Netstring::More);
    }

    #[test]
    fn requests_and_replies() {
        assert_eq!(request(b"mailbox anna@example.com"), Some(("mailbox", "anna@example.com")));
        assert_eq!(request(b"virtual a b@x"), Some(("virtual", "a b@x")));
        assert_eq!(request(b"virtual"), None);
        assert_eq!(request(b"virtual \xff"), None);
        let written = |answer: Answer| {
            let mut out = Vec::new();
            reply(&answer, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Answer::Found("x".into())), "4:OK x,");
        assert_eq!(written(Answer::NotFound), "9:NOTFOUND ,");
        assert_eq!(written(Answer::Temporary("later\n".into())), "11:TEMP later?,");
        assert_eq!(written(Answer::Wrong("no".into())), "7:PERM no,");
        assert!(written(Answer::Found("x".repeat(100_000))).contains("PERM the answer is longer"));
    }
}
