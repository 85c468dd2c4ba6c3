//! Patterns of LIST and LSUB: `*` matches anything, `%` anything within one level (RFC 9051 §6.3.9).

use culver_base::MailboxName;
use culver_base::mailbox_name::SEPARATOR;

/// A reference name and a pattern together. The reference is simply put in front, as every server with one
/// hierarchy does; a pattern that begins with the separator ignores it.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Vec<char>,
}

impl Pattern {
    /// From the two arguments.
    pub fn new(reference: &str, pattern: &str) -> Self {
        let joined = format!("{reference}{pattern}");
        // INBOX is matched without regard to case, as a whole first level only (RFC 9051 §5.1).
        let first = joined.split(SEPARATOR).next().unwrap_or_default();
        let text = if first.eq_ignore_ascii_case("INBOX") {
            format!("INBOX{}", &joined[first.len()..])
        } else {
            joined
        };
        Self { text: text.chars().collect() }
    }

    /// Does the name match? In time of name length x pattern length at most.
    pub fn matches(&self, name: &MailboxName) -> bool {
        if matches(&self.text, name.as_str()) {
            return true;
        }
        // `iNb%` names INBOX as well.
        name.is_inbox() && {
            let upper: Vec<char> = self.text.iter().map(char::to_ascii_uppercase).collect();
            matches(&upper, "INBOX")
        }
    }
}

/// One row of the table "pattern position x name position" at a time.
fn matches(pattern: &[char], name: &str) -> bool {
    let mut reachable = vec![false; pattern.len() + 1];
    reachable[0] = true;
    spread(pattern, &mut reachable);
    for c in name.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (i, p) in pattern.iter().enumerate().filter(|(i, _)| reachable[*i]) {
            match p {
                '*' => next[i] = true,
                '%' if c != SEPARATOR => next[i] = true,
                '%' => {}
                p => next[i + 1] |= *p == c,
            }
        }
        spread(pattern, &mut next);
        reachable = next;
    }
    reachable[pattern.len()]
}

/// A wildcard may match nothing.
fn spread(pattern: &[char], reachable: &mut [bool]) {
    for (i, p) in pattern.iter().enumerate() {
        if reachable[i] && matches!(p, '*' | '%') {
            reachable[i + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let table = [
            ("", "*", "a/b/c", true),
            ("", "%", "a", true),
            ("", "%", "a/b", false),
            ("", "%/%", "a/b", true),
            ("a/", "%", "a/b", true),
            ("a/", "%", "a/b/c", false),
            ("", "a*c", "a/b/c", true),
            ("", "a%c", "a/b/c", false),
            ("", "a%c", "abc", true),
            ("", "inbox", "INBOX", true),
            ("", "inb%", "INBOX", true),
            ("", "inbox/*", "INBOX/x", true),
            ("", "Foo", "foo", false),
            ("", "", "a", false),
            ("", "%%%*%", "a/b", true),
        ];
        for (reference, pattern, name, want) in table {
            let got = Pattern::new(reference, pattern).matches(&MailboxName::new(name));
            assert_eq!(got, want, "{reference:?} {pattern:?} {name:?}");
        }
    }
}
