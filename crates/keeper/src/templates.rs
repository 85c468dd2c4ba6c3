//! What users are told, by language and step.
//!
//! `{account}`, `{used}`, `{limit}`, `{percent}`, `{until}` and `{days}` stand for what they say. A language that is not
//! known is English.

use crate::hook::Told;
use crate::standing::day;

/// A language of notices.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Language {
    /// English
    #[default]
    En,
    /// Deutsch
    De,
    /// Français
    Fr,
}

impl Language {
    /// By a tag such as `de`, `de-AT` or `fr_FR.UTF-8`.
    pub fn parse(tag: &str) -> Option<Self> {
        let first = tag.split(['-', '_', '.']).next().unwrap_or_default();
        match first.to_ascii_lowercase().as_str() {
            "en" => Some(Self::En),
            "de" => Some(Self::De),
            "fr" => Some(Self::Fr),
            _ => None,
        }
    }

    /// Its tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Fr => "fr",
        }
    }
}

/// Subject and text.
type Template = (&'static str, &'static str);

fn template(language: Language, step: &str) -> Template {
    use Language::{De, En, Fr};
    match (step, language) {
        ("over" | "over-again", En) => (
            "Your mailbox is full",
            "Your mailbox {account} is full: it holds {used} of {limit}.\n\n\
             Reading, moving and deleting still work, but new mail that does not fit is held back by the senders'\n\
             servers. If the mailbox is still full on {until}, it will not receive any mail at all any more.\n\n\
             Please delete what you do not need, and empty the trash.\n",
        ),
        ("over" | "over-again", De) => (
            "Ihr Postfach ist voll",
            "Ihr Postfach {account} ist voll: Es enthält {used} von {limit}.\n\n\
             Lesen, Verschieben und Löschen gehen weiterhin, aber neue Nachrichten, die nicht mehr passen, werden von\n\
             den Servern der Absender zurückgehalten. Ist das Postfach am {until} noch immer voll, so empfängt es gar\n\
             keine Nachrichten mehr.\n\n\
             Bitte löschen Sie, was Sie nicht brauchen, und leeren Sie den Papierkorb.\n",
        ),
        ("over" | "over-again", Fr) => (
            "Votre boîte aux lettres est pleine",
            "Votre boîte aux lettres {account} est pleine : elle contient {used} sur {limit}.\n\n\
             Lire, déplacer et supprimer restent possibles, mais les nouveaux messages qui ne tiennent plus sont\n\
             retenus par les serveurs des expéditeurs. Si la boîte est encore pleine le {until}, elle ne recevra plus\n\
             aucun message.\n\n\
             Supprimez ce dont vous n'avez pas besoin et videz la corbeille.\n",
        ),
        ("disabled", En) => (
            "Your mailbox does not receive mail any more",
            "Your mailbox {account} has been full for {days} days ({used} of {limit}) and does not receive mail any more.\n\
             Senders are told so.\n\n\
             Reading, moving and deleting still work. Please delete what you do not need, and ask your provider to enable\n\
             receiving again, if that does not happen by itself.\n",
        ),
        ("disabled", De) => (
            "Ihr Postfach empfängt keine Nachrichten mehr",
            "Ihr Postfach {account} war {days} Tage lang voll ({used} von {limit}) und empfängt keine Nachrichten mehr.\n\
             Den Absendern wird das mitgeteilt.\n\n\
             Lesen, Verschieben und Löschen gehen weiterhin. Bitte löschen Sie, was Sie nicht brauchen, und lassen Sie den\n\
             Empfang von Ihrem Anbieter wieder einschalten, falls das nicht von selbst geschieht.\n",
        ),
        ("disabled", Fr) => (
            "Votre boîte aux lettres ne reçoit plus de messages",
            "Votre boîte aux lettres {account} a été pleine pendant {days} jours ({used} sur {limit}) et ne reçoit plus de\n\
             messages. Les expéditeurs en sont informés.\n\n\
             Lire, déplacer et supprimer restent possibles. Supprimez ce dont vous n'avez pas besoin et demandez à votre\n\
             fournisseur de rétablir la réception, si cela ne se fait pas tout seul.\n",
        ),
        ("enabled", En) => (
            "Your mailbox receives mail again",
            "Your mailbox {account} receives mail again. It holds {used} of {limit}.\n",
        ),
        ("enabled", De) => (
            "Ihr Postfach empfängt wieder Nachrichten",
            "Ihr Postfach {account} empfängt wieder Nachrichten. Es enthält {used} von {limit}.\n",
        ),
        ("enabled", Fr) => (
            "Votre boîte aux lettres reçoit de nouveau des messages",
            "Votre boîte aux lettres {account} reçoit de nouveau des messages. Elle contient {used} sur {limit}.\n",
        ),
        ("below", En) => (
            "Your mailbox has room again",
            "Your mailbox {account} has room again: it holds {used} of {limit}. You need not do anything.\n",
        ),
        ("below", De) => (
            "Ihr Postfach hat wieder Platz",
            "Ihr Postfach {account} hat wieder Platz: Es enthält {used} von {limit}. Sie müssen nichts weiter tun.\n",
        ),
        ("below", Fr) => (
            "Votre boîte aux lettres a de nouveau de la place",
            "Votre boîte aux lettres {account} a de nouveau de la place : elle contient {used} sur {limit}. Vous n'avez\n\
             rien à faire.\n",
        ),
        (_, En) => (
            "Your mailbox is {percent} % full",
            "Your mailbox {account} is {percent} % full: it holds {used} of {limit}.\n\n\
             Please delete what you do not need, and empty the trash, before it is full.\n",
        ),
        (_, De) => (
            "Ihr Postfach ist zu {percent} % voll",
            "Ihr Postfach {account} ist zu {percent} % voll: Es enthält {used} von {limit}.\n\n\
             Bitte löschen Sie, was Sie nicht brauchen, und leeren Sie den Papierkorb, bevor es voll ist.\n",
        ),
        (_, Fr) => (
            "Votre boîte aux lettres est pleine à {percent} %",
            "Votre boîte aux lettres {account} est pleine à {percent} % : elle contient {used} sur {limit}.\n\n\
             Supprimez ce dont vous n'avez pas besoin et videz la corbeille avant qu'elle ne soit pleine.\n",
        ),
    }
}

/// A size as people read it: `1.5 GiB`.
pub fn size(octets: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scale = 1u64;
    while unit + 1 < units.len() && octets / scale >= 1024 {
        scale *= 1024;
        unit += 1;
    }
    let tenths = u128::from(octets) * 10 / u128::from(scale);
    match (unit, tenths % 10) {
        (0, _) | (_, 0) => format!("{} {}", tenths / 10, units[unit]),
        (_, tenth) => format!("{}.{tenth} {}", tenths / 10, units[unit]),
    }
}

/// Subject and text of what an account is told.
pub fn text_of(account: &str, language: Language, told: &Told) -> (String, String) {
    let (subject, text) = template(language, &told.step);
    let messages = match language {
        Language::En => "messages",
        Language::De => "Nachrichten",
        Language::Fr => "messages",
    };
    let of =
        |part: u64, whole: Option<u64>| whole.map(|whole| u128::from(part) * 100 / u128::from(whole.max(1)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (octets, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(octets), text);
        }
    }

    #[test]
    fn languages() {
        assert_eq!(Language::parse("de_AT.UTF-8"), Some(Language::De));
        assert_eq!(Language::parse("FR"), Some(Language::Fr));
        assert_eq!(Language::parse("tlh"), None);
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for language in [Language::En, Language::De, Language::Fr] {
            for step in ["warned", "over", "over-again", "below", "disabled", "enabled"] {
                let told = Told {
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
                };
                let (subject, text) = text_of("u@example.org", language, &told);
                assert!(!subject.contains('{') && !text.contains('{'), "{subject}\n{text}");
                assert!(text.contains("u@example.org"));
                assert!(text.lines().all(|l| l.len() < 200));
            }
        }
    }
}
