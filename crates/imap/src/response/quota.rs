//! QUOTA and QUOTAROOT (RFC 9208 §4.2).

use super::text::{astring, mailbox, number};
use crate::Dialect;

/// A triplet: name, usage, limit.
pub type Resource = (&'static str, u64, u64);

/// QUOTA (RFC 9208 §4.2.1). Resources that are not limited are not named.
pub fn quota(out: &mut Vec<u8>, root: &[u8], resources: &[Resource]) {
    out.extend_from_slice(b"* QUOTA ");
    astring(out, root);
    out.extend_from_slice(b" (");
    for (i, (name, usage, limit)) in resources.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        number(out, *usage);
        out.push(b' ');
        number(out, *limit);
    }
    out.extend_from_slice(b")\r\n");
}

/// QUOTAROOT (RFC 9208 §4.2.2).
pub fn quota_root(out: &mut Vec<u8>, name: &str, root: &[u8], dialect: Dialect) {
    out.extend_from_slice(b"* QUOTAROOT ");
    mailbox(out, name, dialect);
    out.push(b' ');
    astring(out, root);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 9208 §4.2.1 and §4.1.2, in our choice of quoting.
    #[test]
    fn examples() {
        let mut out = Vec::new();
        quota(&mut out, b"", &[("STORAGE", 10, 512)]);
        quota(&mut out, b"#user/alice", &[("STORAGE", 54, 111), ("MESSAGE", 42, 1000)]);
        quota(&mut out, b"a b", &[]);
        quota_root(&mut out, "INBOX", b"#user/alice", Dialect::REV1);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "* QUOTA \"\" (STORAGE 10 512)\r\n* QUOTA #user/alice (STORAGE 54 111 MESSAGE 42 1000)\r\n\
             * QUOTA \"a b\" ()\r\n* QUOTAROOT INBOX #user/alice\r\n"
        );
    }
}
