//! Postfix's policy delegation (SMTPD_POLICY_README): a request is lines `NAME=VALUE` and an empty line, the reply
//! `action=ACTION` and an empty line.

use crate::one_line;

/// The longest request. Postfix sends about thirty attributes, most of them short.
pub const LONGEST: usize = 16 * 1024;

/// What is read of a request.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Request {
    /// `smtpd_access_policy`, or the request is somebody else's.
    pub request: String,
    /// Where the SMTP dialogue stands: `RCPT`, `END-OF-MESSAGE`, ...
    pub state: String,
    /// The recipient; empty when there is none yet, or more than one.
    pub recipient: String,
    /// The size of the message as far as it is known; 0 when it is not.
    pub size: u64,
    /// Who has logged in to submit mail; empty for nobody.
    pub sasl_username: String,
}

/// What stands at the front of the input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Not all of it has come.
    More,
    /// A request, and how many octets it took.
    Whole(Request, usize),
    /// It is none.
    Malformed,
}

/// Reads a request.
pub fn request(input: &[u8]) -> Step {
    let mut request = Request::default();
    let mut used = 0;
    while let Some(end) = memchr::memchr(b'\n', &input[used..]) {
        let line = &input[used..used + end];
        used += end + 1;
        if line.is_empty() {
            return if request.request.is_empty() { Step::Malformed } else { Step::Whole(request, used) };
        }
        let Some(equals) = memchr::memchr(b'=', line) else { return Step::Malformed };
        let value = String::from_utf8_lossy(&line[equals + 1..]).into_owned();
        // Attributes may come in any order, and new ones at any time.
        match &line[..equals] {
            b"request" => request.request = value,
            b"protocol_state" => request.state = value,
            b"recipient" => request.recipient = value,
            b"size" => request.size = value.parse().unwrap_or(0),
            b"sasl_username" => request.sasl_username = value,
            _ => {}
        }
    }
    Step::More
}

/// Writes a reply: `DUNNO`, or an SMTP reply.
pub fn reply(action: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("action={}\n\n", one_line(action)).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As SMTPD_POLICY_README shows it, cut short.
    const EXAMPLE: &[u8] = b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=SMTP\nhelo_name=some.domain.tld\n\
        queue_id=8045F2AB23\nsender=foo@bar.tld\nrecipient=bar@foo.tld\nrecipient_count=0\nclient_address=1.2.3.4\n\
        size=12345\nsasl_method=plain\nsasl_username=you\nstress=\n\n";

    #[test]
    fn requests() {
        let expected = Request {
            request: "smtpd_access_policy".into(),
            state: "RCPT".into(),
            recipient: "bar@foo.tld".into(),
            size: 12345,
            sasl_username: "you".into(),
        };
        assert_eq!(request(EXAMPLE), Step::Whole(expected.clone(), EXAMPLE.len()));
        for cut in 0..EXAMPLE.len() {
            assert_eq!(request(&EXAMPLE[..cut]), Step::More, "{cut}");
        }
        let twice = [EXAMPLE, EXAMPLE].concat();
        assert_eq!(request(&twice), Step::Whole(expected, EXAMPLE.len()));
        for bad in [&b"\n"[..], b"a=b\n\n", b"request\n", b"request=\n\n"] {
            assert_eq!(request(bad), Step::Malformed, "{}", bad.escape_ascii());
        }
        assert!(
            matches!(request(b"request=x\nsize=-1\nrecipient=\xff=\n\n"), Step::Whole(r, _) if r.size == 0)
        );
    }

    #[test]
    fn replies() {
        let mut out = Vec::new();
        reply("550 5.2.1 a\nb", &mut out);
        assert_eq!(out, b"action=550 5.2.1 a?b\n\n");
    }
}
