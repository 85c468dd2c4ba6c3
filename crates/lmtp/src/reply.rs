//! Replies (RFC 5321 §4.2) with enhanced status codes (RFC 2034, RFC 3463): written by a server, read by a client.

/// The longest line of a reply without its end (RFC 5321 §4.5.3.1.5 allows 512 octets with it).
const LONGEST: usize = 500;
/// A client takes no more lines in one reply.
const MOST_LINES: usize = 1000;

/// An enhanced status code (RFC 3463 §2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enhanced(pub u8, pub u16, pub u16);

/// A reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Its code.
    pub code: u16,
    /// The enhanced code, on each line.
    pub enhanced: Option<Enhanced>,
    /// The text, lines divided by LF.
    pub text: String,
}

impl std::fmt::Display for Enhanced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// For logs: in one line.
impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        write!(f, " {}", self.text.replace('\n', " "))
    }
}

impl Reply {
    /// With an enhanced code, whose class is that of the reply.
    pub fn new(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Self {
        let class = u8::try_from(code / 100).unwrap_or(5);
        Self { code, enhanced: Some(Enhanced(class, subject, detail)), text: text.into() }
    }

    /// Without one: the greeting, LHLO and 354 have none (RFC 2034 §4: only replies with 2, 4 and 5, and not LHLO's).
    pub fn bare(code: u16, text: impl Into<String>) -> Self {
        Self { code, enhanced: None, text: text.into() }
    }

    /// Was it done (2xx), or may the client go on (3xx)?
    pub fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// Not now (4xx)?
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// Writes it. Control characters become question marks, lines that are too long are cut between characters.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if lines.peek().is_some() { b'-' } else { b' ' });
            let start = out.len();
            if let Some(enhanced) = self.enhanced {
                out.extend_from_slice(enhanced.to_string().as_bytes());
                out.push(b' ');
            }
            for c in line.chars() {
                if out.len() - start + c.len_utf8() > LONGEST - 4 {
                    break;
                }
                let c = if c.is_control() { '?' } else { c };
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Puts a reply together from its lines: the client's side.
#[derive(Default, Debug)]
pub struct Reader {
    lines: usize,
    reply: Option<Reply>,
}

impl Reader {
    /// Takes a line without its end. `Ok(None)`: more lines follow.
    ///
    /// # Errors
    /// When it is no line of a reply, or not of this one; the text says what came.
    pub fn push(&mut self, line: &[u8]) -> Result<Option<Reply>, String> {
        let line = String::from_utf8_lossy(line);
        let wrong = || format!("no line of a reply: {}", line.escape_debug());
        let code: u16 = line
            .get(..3)
            .and_then(|c| c.parse().ok())
            .filter(|c| (200..600).contains(c))
            .ok_or_else(wrong)?;
        let more = match line.as_bytes().get(3) {
            None | Some(b' ') => false,
            Some(b'-') => true,
            Some(_) => return Err(wrong()),
        };
        let (enhanced, text) = enhanced(line.get(4..).unwrap_or_default());
        self.lines += 1;
        match &mut self.reply {
            None => self.reply = Some(Reply { code, enhanced, text: text.to_owned() }),
            Some(reply) if reply.code == code && self.lines <= MOST_LINES => {
                reply.text.push('\n');
                reply.text.push_str(text);
            }
            Some(_) => return Err(wrong()),
        }
        if more {
            return Ok(None);
        }
        self.lines = 0;
        Ok(self.reply.take())
    }
}

/// An enhanced code at the beginning of a line, and the rest.
fn enhanced(text: &str) -> (Option<Enhanced>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let numbers: Vec<Option<u16>> =
        word.splitn(4, '.').map(|n| (1..=3).contains(&n.len()).then(|| n.parse().ok())?).collect();
    let code = match numbers[..] {
        [Some(class @ (2 | 4 | 5)), Some(subject), Some(detail)] => {
            u8::try_from(class).ok().map(|c| Enhanced(c, subject, detail))
        }
        _ => None,
    };
    match code {
        Some(code) => (Some(code), rest),
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_bounded_and_clean() {
        assert_eq!(written(&Reply::new(250, 2, 1, "OK")), "250 2.2.1 OK\r\n");
        assert_eq!(written(&Reply::bare(250, "a\nb")), "250-a\r\n250 b\r\n");
        assert_eq!(written(&Reply::new(550, 1, 1, "x\r\n250 OK")), "550-5.1.1 x?\r\n550 5.1.1 250 OK\r\n");
        let long = written(&Reply::new(452, 2, 2, "ü".repeat(600)));
        assert!(long.len() <= 512 && long.ends_with("ü\r\n"), "{}", long.len());
    }

    #[test]
    fn replies_of_others() {
        let mut reader = Reader::default();
        assert_eq!(reader.push(b"250-mail.example.org"), Ok(None));
        assert_eq!(reader.push(b"250-PIPELINING"), Ok(None));
        assert_eq!(
            reader.push(b"250 SIZE 1"),
            Ok(Some(Reply::bare(250, "mail.example.org\nPIPELINING\nSIZE 1")))
        );
        assert_eq!(reader.push(b"250"), Ok(Some(Reply::bare(250, ""))));
        assert_eq!(reader.push(b"452 4.2.2 full"), Ok(Some(Reply::new(452, 2, 2, "full"))));
        assert_eq!(reader.push(b"220 1.2.3 x"), Ok(Some(Reply::bare(220, "1.2.3 x"))));
        for bad in [&b""[..], b"25", b"25x a", b"100 a", b"250_a", b"\xff\xff\xff"] {
            assert!(Reader::default().push(bad).is_err(), "{}", bad.escape_ascii());
        }
        let mut reader = Reader::default();
        reader.push(b"250-a").unwrap();
        assert!(reader.push(b"251 b").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(code in 2u16..6, lines in prop::collection::vec("[ -~ü]{0,40}", 1..4)) {
            let reply = Reply::new(code * 100, 7, 1, lines.join("\n"));
            let reply = if code == 3 { Reply { enhanced: None, ..reply } } else { reply };
            let mut reader = Reader::default();
            let mut last = None;
            for line in written(&reply).lines() {
                last = reader.push(line.as_bytes()).unwrap();
            }
            if code != 3 {
                prop_assert_eq!(last, Some(reply));
            }
        }
    }
}
