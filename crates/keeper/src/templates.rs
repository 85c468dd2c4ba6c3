//! The built-in texts of what users are told, by language and step; [`crate::texts`] says which text is taken.

/// What stands in texts for something else: the account, what it holds, what it may hold, how full it is, when it will be disabled,
/// and the days of grace.
pub const PLACEHOLDERS: [&str; 6] = ["{account}", "{used}", "{limit}", "{percent}", "{until}", "{days}"];

#[derive(Clone, Copy)]
enum Language {
    En,
    De,
    Fr,
}

fn language(tag: &str) -> Option<Language> {
    match tag {
        "en" => Some(Language::En),
        "de" => Some(Language::De),
        "fr" => Some(Language::Fr),
        _ => None,
    }
}

/// The built-in text.
pub(crate) fn built_in(tag: &str, step: &str) -> Option<Template> {
    language(tag).map(|language| template(language, step))
}

/// The word for messages.
pub(crate) fn messages_in(tag: &str) -> Option<&'static str> {
    Some(match language(tag)? {
        Language::En | Language::Fr => "messages",
        Language::De => "Nachrichten",
    })
}

/// Subject and text.
pub(crate) type Template = (&'static str, &'static str);

fn template(language: Language, step: &str) -> Template {
    use Language::{De, En, Fr};
    match (step, language) {
        ("over", En) => (
            "Your mailbox is full",
            "Your mailbox {account} is full: it holds {used} of {limit}.\n\n\
             Reading, moving and deleting still work, but new mail that does not fit is held back by the senders'\n\
             servers. If the mailbox is still full on {until}, it will not receive any mail at all any more.\n\n\
             Please delete what you do not need, and empty the trash.\n",
        ),
        ("over", De) => (
            "Ihr Postfach ist voll",
            "Ihr Postfach {account} ist voll: Es enthält {used} von {limit}.\n\n\
             Lesen, Verschieben und Löschen gehen weiterhin, aber neue Nachrichten, die nicht mehr passen, werden von\n\
             den Servern der Absender zurückgehalten. Ist das Postfach am {until} noch immer voll, so empfängt es gar\n\
             keine Nachrichten mehr.\n\n\
             Bitte löschen Sie, was Sie nicht brauchen, und leeren Sie den Papierkorb.\n",
        ),
        ("over", Fr) => (
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
}
