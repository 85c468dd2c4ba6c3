//! The texts of notices: the administrator's own, where there are any, else the built-in ones.
//!
//! A file holds the text of one step in one language: a line `Subject: ...`, perhaps a line `Messages: ...` with the word for
//! messages, an empty line, and the text, in UTF-8. Nothing here touches files: who reads them hands their octets to [`Text::parse`].
//! A language that has own texts is one that accounts may have. Which text is taken: the own one of the language, the built-in
//! one of the language, the own English one, the built-in English one.

use crate::hook::Told;
use crate::standing::day;
use crate::templates::{PLACEHOLDERS, built_in, messages_in, size};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Steps that users are told of, by the names of their files.
pub const STEPS: [&str; 5] = ["warned", "over", "below", "disabled", "enabled"];
/// Languages with built-in texts.
pub const BUILT_IN: [&str; 3] = ["en", "de", "fr"];
/// Octets of a line of a message, without its end (RFC 5322 §2.1.1).
const LINE: usize = 998;
/// Characters of a subject. It is not folded.
const SUBJECT: usize = 200;
/// Octets of a file.
pub const LARGEST: usize = 64 << 10;

/// The text of one step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text {
    subject: String,
    body: String,
    messages: Option<String>,
}

/// Something wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub what: String,
}

impl Text {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is wrong with it; never an empty list.
    pub fn parse(octets: &[u8]) -> Result<Self, Vec<Wrong>> {
        let wrong = |line: usize, what: &str| vec![Wrong { line, what: what.to_owned() }];
        if octets.len() > LARGEST {
            return Err(wrong(1, "the file is larger than 64 KiB: write less"));
        }
        let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
        let text = std::str::from_utf8(octets).map_err(|e| {
            let before = octets.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count();
            wrong(before + 1, "this is no UTF-8: save the file in UTF-8")
        })?;
        let mut found = Vec::new();
        let (mut subject, mut messages, mut body) = (None, None, String::new());
        let mut in_body = false;
        for (number, line) in (1..).zip(text.lines()) {
            let mut wrong = |what: String| found.push(Wrong { line: number, what });
            if line.chars().any(|c| c.is_control() && c != '\t') {
                wrong("there is a control character in this line: take it out".to_owned());
            }
            if let Some(unknown) = unknown_placeholder(line) {
                wrong(format!("there is no {unknown}: known are {}", PLACEHOLDERS.join(", ")));
            }
            if line.len() > LINE {
                wrong(format!("a line of mail has at most {LINE} octets: break this one"));
            }
            if in_body {
                body.push_str(line);
                body.push('\n');
                continue;
            }
            if line.trim().is_empty() {
                in_body = true;
                continue;
            }
            let field = line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim()));
            match field {
                Some((name, value)) if name == "subject" && !value.is_empty() => {
                    if value.chars().count() > SUBJECT {
                        wrong(format!("a subject has at most {SUBJECT} characters: write less"));
                    }
                    subject = Some(value.to_owned());
                }
                Some((name, value)) if name == "messages" && !value.is_empty() => {
                    messages = Some(value.to_owned());
                }
                _ => wrong(
                    "before the first empty line stand `Subject: ...` and perhaps `Messages: ...`, each in one line"
                        .to_owned(),
                ),
            }
        }
        if subject.is_none() && found.is_empty() {
            found.push(Wrong {
                line: 1,
                what: "there is no subject: begin with a line `Subject: ...` and an empty line".to_owned(),
            });
        }
        if body.trim().is_empty() && found.is_empty() {
            let line = text.lines().count().max(1);
            found.push(Wrong { line, what: "there is no text: write it below an empty line".to_owned() });
        }
        match subject {
            Some(subject) if found.is_empty() => Ok(Self { subject, body, messages }),
            _ => Err(found),
        }
    }
}

/// The first `{word}` that stands for nothing.
fn unknown_placeholder(line: &str) -> Option<&str> {
    let mut rest = line;
    while let Some(start) = rest.find('{') {
        rest = rest.get(start..)?;
        // Another brace comes first: this one is a brace.
        let end = rest.get(1..)?.find(['{', '}'])? + 1;
        if rest.as_bytes().get(end) == Some(&b'}') {
            let word = rest.get(..=end)?;
            if !PLACEHOLDERS.contains(&word) {
                return Some(word);
            }
        }
        rest = rest.get(end..)?;
    }
    None
}

/// A built-in text as a file, to begin with. `None` for steps and languages that have none.
pub fn built_in_file(language: &str, step: &str) -> Option<String> {
    let (subject, body) = built_in(language, step).filter(|_| STEPS.contains(&step))?;
    let messages = messages_in(language)?;
    Some(format!("Subject: {subject}\nMessages: {messages}\n\n{body}"))
}

/// The tag of a language: `de`, `pt-br`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Language(Cow<'static, str>);

impl Default for Language {
    fn default() -> Self {
        Self(Cow::Borrowed("en"))
    }
}

impl Language {
    /// Its tag.
    pub fn tag(&self) -> &str {
        &self.0
    }

    /// Without what follows its first part.
    fn primary(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }
}

/// Can it be the name of a language (RFC 5646 §2.1)?
pub fn is_tag(name: &str) -> bool {
    let mut parts = name.split('-');
    let first = parts.next().unwrap_or_default();
    let fits = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    (2..=8).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic()) && parts.all(fits)
}

/// All texts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Texts {
    own: BTreeMap<String, BTreeMap<String, Text>>,
}

impl Texts {
    /// An administrator's text for a step, in the language of this tag.
    pub fn add(&mut self, tag: &str, step: &str, text: Text) {
        self.own.entry(tag.to_ascii_lowercase()).or_default().insert(step.to_owned(), text);
    }

    /// A language that the administrator has, even if none of its texts can be used.
    pub fn add_language(&mut self, tag: &str) {
        self.own.entry(tag.to_ascii_lowercase()).or_default();
    }

    /// By a tag such as `de`, `de-AT` or `fr_FR.UTF-8`: that language, or the one that its first part names.
    pub fn find(&self, tag: &str) -> Option<Language> {
        let tag = tag.split(['.', '@']).next().unwrap_or_default().replace('_', "-").to_ascii_lowercase();
        let mut tag = tag.as_str();
        loop {
            if self.own.contains_key(tag) || BUILT_IN.contains(&tag) {
                return Some(Language(Cow::Owned(tag.to_owned())));
            }
            tag = tag.rsplit_once('-')?.0;
        }
    }

    /// The tags of all languages.
    pub fn languages(&self) -> Vec<&str> {
        let own = self.own.keys().map(String::as_str).filter(|tag| !BUILT_IN.contains(tag));
        BUILT_IN.into_iter().chain(own).collect()
    }

    /// Subject, text and the word for messages.
    fn template<'a>(&'a self, language: &'a Language, step: &str) -> (&'a str, &'a str, &'a str) {
        let own = |tag: &str| {
            let texts = self.own.get(tag)?;
            let text = texts.get(step)?;
            let messages = text.messages.as_deref().or(messages_in(tag)).unwrap_or("messages");
            Some((text.subject.as_str(), text.body.as_str(), messages))
        };
        let built_in = |tag: &str| {
            let (subject, body) = built_in(tag, step)?;
            Some((subject, body, messages_in(tag)?))
        };
        let (tag, primary) = (language.tag(), language.primary());
        let found = own(tag).or_else(|| own(primary)).or_else(|| built_in(primary)).or_else(|| own("en"));
        found.or_else(|| built_in("en")).unwrap_or_default()
    }

    /// Subject and text of what an account is told.
    pub fn text_of(&self, account: &str, language: &Language, told: &Told) -> (String, String) {
        let (subject, text, messages) = self.template(language, &told.step);
        let of = |part: u64, whole: Option<u64>| {
            whole.map(|whole| u128::from(part) * 100 / u128::from(whole.max(1)))
        };
        // The fuller of the two is what it is about.
        let by_messages = of(told.messages, told.messages_limit) > of(told.storage, told.storage_limit);
        let (used, limit) = if by_messages {
            let count = |n: u64| format!("{n} {messages}");
            (count(told.messages), count(told.messages_limit.unwrap_or(0)))
        } else {
            (size(told.storage), told.storage_limit.map_or_else(|| "-".to_owned(), size))
        };
        let until = told.until.and_then(|until| u64::try_from(until).ok()).map(day).unwrap_or_default();
        let fill = |text: &str| {
            text.replace("{used}", &used)
                .replace("{limit}", &limit)
                .replace("{percent}", &told.percent.to_string())
                .replace("{until}", &until)
                .replace("{days}", &told.grace_days().to_string())
                .replace("{account}", account)
        };
        (fill(subject), fill(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(step: &str) -> Told {
        Told {
            step: step.to_owned(),
            threshold: 0,
            until: Some(0),
            by: None,
            at: 0,
            percent: 91,
            storage: 91,
            messages: 5,
            storage_limit: Some(100),
            messages_limit: None,
            to_user: true,
            grace: 432_000,
        }
    }

    fn subject(texts: &Texts, tag: &str, step: &str) -> String {
        texts.text_of("u@example.org", &texts.find(tag).unwrap(), &told(step)).0
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let texts = Texts::default();
        for language in BUILT_IN {
            for step in STEPS {
                let (subject, text) =
                    texts.text_of("u@example.org", &texts.find(language).unwrap(), &told(step));
                assert!(!subject.contains('{') && !text.contains('{'), "{subject}\n{text}");
                assert!(text.contains("u@example.org"));
                assert!(text.lines().all(|l| l.len() < 200));
            }
        }
    }

    #[test]
    fn languages() {
        let mut texts = Texts::default();
        let tag = |texts: &Texts, tag: &str| texts.find(tag).map(|l| l.tag().to_owned());
        assert_eq!(tag(&texts, "de_AT.UTF-8").as_deref(), Some("de"));
        assert_eq!(tag(&texts, "FR").as_deref(), Some("fr"));
        assert_eq!(tag(&texts, "tlh"), None);
        texts.add_language("pt-BR");
        texts.add_language("de-AT");
        assert_eq!(tag(&texts, "pt_BR").as_deref(), Some("pt-br"));
        assert_eq!(tag(&texts, "pt"), None);
        assert_eq!(tag(&texts, "de-at-1996").as_deref(), Some("de-at"));
        assert_eq!(texts.languages(), ["en", "de", "fr", "de-at", "pt-br"]);
        for (name, good) in [("it", true), ("pt-BR", true), ("x", false), ("it_IT", false), ("i t", false)] {
            assert_eq!(is_tag(name), good, "{name}");
        }
    }

    /// What stands in a built-in file, read again, says the same.
    #[test]
    fn built_in_files_can_be_read_again() {
        for language in BUILT_IN {
            for step in STEPS {
                let file = built_in_file(language, step).unwrap();
                let mut texts = Texts::default();
                texts.add(language, step, Text::parse(file.as_bytes()).unwrap());
                for by_messages in [false, true] {
                    let mut told = told(step);
                    told.messages_limit = by_messages.then_some(5);
                    let language = texts.find(language).unwrap();
                    let built_in = Texts::default().text_of("u", &language, &told);
                    assert_eq!(texts.text_of("u", &language, &told), built_in);
                }
            }
        }
        assert_eq!(built_in_file("it", "over"), None);
        assert_eq!(built_in_file("en", "border"), None);
    }

    #[test]
    fn what_is_missing_is_taken_from_the_next() {
        let mut texts = Texts::default();
        let text = |subject: &str| Text::parse(format!("Subject: {subject}\n\nText\n").as_bytes()).unwrap();
        texts.add("it", "over", text("piena, {percent}"));
        texts.add("de-AT", "over", text("voll, Jänner"));
        assert_eq!(subject(&texts, "it", "over"), "piena, 91");
        assert_eq!(subject(&texts, "it", "below"), "Your mailbox has room again");
        assert_eq!(subject(&texts, "de-AT", "over"), "voll, Jänner");
        assert_eq!(subject(&texts, "de-AT", "below"), "Ihr Postfach hat wieder Platz");
        assert_eq!(subject(&texts, "de", "over"), "Ihr Postfach ist voll");
        texts.add("en", "below", text("room"));
        assert_eq!(subject(&texts, "it", "below"), "room");
        assert_eq!(subject(&texts, "fr", "below"), "Votre boîte aux lettres a de nouveau de la place");
    }

    #[test]
    fn the_word_for_messages() {
        let text = Text::parse(
            "\u{feff}subject: s\r\nMessages: messaggi\r\n\r\n{used} di {limit}, {x\r\n".as_bytes(),
        );
        let mut texts = Texts::default();
        texts.add("it", "over", text.unwrap());
        let mut told = told("over");
        told.messages_limit = Some(5);
        let (_, body) = texts.text_of("u", &texts.find("it").unwrap(), &told);
        assert_eq!(body, "5 messaggi di 5 messaggi, {x\n");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let long = format!("Subject: s\n\n{}\n", "x".repeat(999));
        let longest = format!("Subject: s\n\n{}\n", "x".repeat(998));
        assert!(Text::parse(longest.as_bytes()).is_ok());
        let cases: [(&[u8], usize, &str); 9] = [
            (b"Hello\n\nText\n", 1, "Subject"),
            (b"\nText\n", 1, "no subject"),
            (b"Subject:\n\nText\n", 1, "Subject"),
            (b"Subject: s\n\n\n", 3, "no text"),
            (b"Subject: s\n\nText\n{usde} of {limit}\n", 4, "no {usde}: known are {account}, {used}"),
            (b"Subject: {Account}\n\nText\n", 1, "no {Account}"),
            (b"Subject: s\n\nText\n\xff\n", 4, "UTF-8"),
            (b"Subject: s\n\nText\x07\n", 3, "control"),
            (long.as_bytes(), 3, "998"),
        ];
        for (octets, line, what) in cases {
            let found = Text::parse(octets).unwrap_err();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].line, line, "{found:?}");
            assert!(found[0].what.contains(what), "{found:?}");
        }
        assert!(Text::parse(&vec![b'x'; LARGEST + 1]).is_err());
        let all = Text::parse(b"Subject: {a} s\n\n{b}\n").unwrap_err();
        assert_eq!(all.iter().map(|w| w.line).collect::<Vec<_>>(), [1, 3]);
    }
}
