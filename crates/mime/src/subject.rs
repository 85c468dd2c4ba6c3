//! The base subject (RFC 5256 §2.1): what is left of a subject without "Re:", "[list]", "(fwd)" and their like.

/// A subject's base, and whether taking it off showed a reply or a forward (RFC 5256 §3, REFERENCES).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Base<'a> {
    /// What is left.
    pub text: &'a str,
    /// "Re:", "Fwd:", "(fwd)" or "[fwd: ]" was taken away.
    pub is_reply: bool,
}

/// Tabs and line ends to spaces, several spaces to one: step (1) for what was decoded already.
pub fn normalise(decoded: &str) -> String {
    let mut out = String::with_capacity(decoded.len());
    for c in decoded.chars() {
        let c = if matches!(c, '\t' | '\r' | '\n') { ' ' } else { c };
        if c != ' ' || !out.ends_with(' ') {
            out.push(c);
        }
    }
    out
}

/// Steps (2) to (7), of a text that [`normalise`] made.
pub fn base(subject: &str) -> Base<'_> {
    let mut text = subject;
    let mut is_reply = false;
    loop {
        // (2)
        loop {
            if let Some(rest) = text.strip_suffix(' ') {
                text = rest;
            } else if let Some(rest) = strip_suffix(text, "(fwd)") {
                text = rest;
                is_reply = true;
            } else {
                break;
            }
        }
        loop {
            let before = text;
            // (3)
            loop {
                if let Some(rest) = text.strip_prefix(' ') {
                    text = rest;
                } else if let Some(rest) = leader(text) {
                    text = rest;
                    is_reply = true;
                } else {
                    break;
                }
            }
            // (4)
            if let Some(rest) = blob(text).filter(|rest| !rest.is_empty()) {
                text = rest;
            }
            // (5)
            if text == before {
                break;
            }
        }
        // (6)
        match strip_prefix(text, "[fwd:").and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => {
                text = inner;
                is_reply = true;
            }
            None => return Base { text, is_reply },
        }
    }
}

/// `*subj-blob subj-refwd`
fn leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(after) = blob(rest) {
        rest = after;
    }
    let rest = ["re", "fwd", "fw"].iter().find_map(|word| strip_prefix(rest, word))?;
    let rest = rest.trim_start_matches(' ');
    blob(rest).unwrap_or(rest).strip_prefix(':')
}

/// `subj-blob`
fn blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    Some(inner.get(end..)?.strip_prefix(']')?.trim_start_matches(' '))
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn strip_suffix<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_steps_of_the_rfc() {
        // Each by hand after RFC 5256 §2.1 and its grammar in §5.
        let table = [
            ("hello", "hello", false),
            ("Re: hello", "hello", true),
            ("RE:hello", "hello", true),
            ("re : hello", "hello", true),
            ("Fw: hello", "hello", true),
            ("Fwd: Re: hello", "hello", true),
            ("re[2]: hello", "hello", true),
            ("[list] Re: hello", "hello", true),
            ("[list] hello", "hello", false),
            ("[a] [b] hello", "hello", false),
            ("Re: [list] Re: hello", "hello", true),
            ("[only]", "[only]", false),
            ("Re: [only]", "[only]", true),
            ("hello (fwd)", "hello", true),
            ("hello (fwd) (FWD) ", "hello", true),
            ("[fwd: hello]", "hello", true),
            ("[Fwd: Re: hello (fwd)]", "hello", true),
            ("[fwd: [fwd: hello]]", "hello", true),
            ("Reply to all", "Reply to all", false),
            ("re", "re", false),
            ("Re:", "", true),
            ("", "", false),
            ("  a   b  ", "a b", false),
            ("a\t\tb", "a b", false),
            ("[a[b] hello", "[a[b] hello", false),
            ("Aw: hello", "Aw: hello", false),
        ];
        for (subject, want, reply) in table {
            let normal = normalise(subject);
            assert_eq!(base(&normal), Base { text: want, is_reply: reply }, "{subject:?}");
        }
    }

    proptest! {
        #[test]
        fn a_base_has_no_other_base(text in "[a-c\\[\\]: ]{0,12}|(re:|fwd:|\\[x\\]|\\(fwd\\)|\\[fwd:|\\]| |a){0,9}") {
            let normal = normalise(&text);
            let found = base(&normal);
            prop_assert_eq!(base(found.text).text, found.text);
        }
    }
}
