//! ENVELOPE (RFC 9051 §7.5.2).

use crate::address::{self, Address};
use crate::fields;
use crate::wire::{nstring, text};

/// The envelope of a header block, as wire bytes. Addresses of several fields of one name are one list; of
/// other fields the last counts.
pub fn envelope(header: &[u8]) -> Vec<u8> {
    const NAMES: [&[u8]; 10] = [
        b"Date",
        b"Subject",
        b"From",
        b"Sender",
        b"Reply-To",
        b"To",
        b"Cc",
        b"Bcc",
        b"In-Reply-To",
        b"Message-ID",
    ];
    let mut values: [Option<Vec<u8>>; 10] = Default::default();
    for field in fields::iter(header) {
        if let Some(i) = NAMES.iter().position(|n| field.is(n)) {
            match &mut values[i] {
                // Addresses of several fields are one list; of everything else the last counts.
                Some(list) if (2..8).contains(&i) => {
                    list.extend_from_slice(b", ");
                    list.extend_from_slice(&field.unfolded());
                }
                value => *value = Some(field.unfolded()),
            }
        }
    }
    let [date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id] = values;
    let list = |value: Option<Vec<u8>>| value.map(|v| address::parse(&v)).filter(|l| !l.is_empty());
    let from = list(from);
    // RFC 9051 §7.5.2: without (or with empty) Sender and Reply-To, From stands in.
    let sender = list(sender).or_else(|| from.clone());
    let reply_to = list(reply_to).or_else(|| from.clone());
    let mut out = vec![b'('];
    nstring(&mut out, date.as_deref());
    out.push(b' ');
    text(&mut out, subject.as_deref());
    for addresses in [from, sender, reply_to, list(to), list(cc), list(bcc)] {
        out.push(b' ');
        write(&mut out, addresses);
    }
    out.push(b' ');
    nstring(&mut out, in_reply_to.as_deref());
    out.push(b' ');
    nstring(&mut out, message_id.as_deref());
    out.push(b')');
    out
}

fn write(out: &mut Vec<u8>, addresses: Option<Vec<Address>>) {
    match addresses {
        None => out.extend_from_slice(b"NIL"),
        Some(list) => {
            out.push(b'(');
            list.iter().for_each(|a| a.write(out));
            out.push(b')');
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rfcs_example() {
        // RFC 9051 §8: the message and its ENVELOPE.
        let header =
            b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
            Subject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
            Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\n";
        let want = "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary and minutes\" \
            ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \
            \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \
            \"cac.washington.edu\")) ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \
            \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.edu>\")";
        assert_eq!(String::from_utf8(super::envelope(header)).unwrap(), want);
    }
}
