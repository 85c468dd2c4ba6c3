//! Every text for people, in every language (RFC 6856 §3).
//!
//! A text is a variant, said in each language by one `match`: a new text does not compile until all languages have it.
//! English texts are ASCII, since clients that never said LANG get them. What others wrote (an administrator's reason)
//! is passed on as it is.

use std::borrow::Cow;

/// A language that the server speaks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Language {
    /// English
    #[default]
    English,
    /// Deutsch
    German,
    /// Français
    French,
}

impl Language {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::English, Self::German, Self::French];

    /// Its tag (RFC 5646).
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
        }
    }

    /// Its name in itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
            Self::French => "Français",
        }
    }

    /// The language that a range asks for: the one of that tag, or the one that is left when the range is cut from its
    /// end, so that `de-AT` finds `de` (RFC 4647 §3.4). `*` is for the caller.
    pub fn find(range: &str) -> Option<Self> {
        let primary = range.split('-').next().unwrap_or_default();
        Self::ALL.into_iter().find(|l| l.tag().eq_ignore_ascii_case(primary))
    }
}

/// What is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Text<'a> {
    /// The greeting.
    Ready,
    /// USER was taken.
    NowThePassword,
    /// After login.
    Welcome {
        /// Messages in the maildrop.
        messages: usize,
        /// Their octets.
        octets: u64,
    },
    /// QUIT.
    Goodbye,
    /// QUIT that deleted so many.
    GoodbyeDeleted(usize),
    /// QUIT that could not delete all.
    NotAllDeleted,
    /// No such command.
    UnknownCommand,
    /// Wrong arguments; the right ones.
    WriteItAs(&'a str),
    /// A line was longer than so many octets.
    LineTooLong(usize),
    /// The command needs a login.
    LogInFirst,
    /// The command is for before login.
    LoggedInAlready,
    /// PASS without USER.
    UserFirst,
    /// No such message.
    NoSuchMessage(usize),
    /// The number is none.
    NotANumber,
    /// DELE took this one.
    Deleted(u32),
    /// It was deleted before.
    DeletedAlready(u32),
    /// RSET.
    Reset,
    /// A listing of so many messages.
    Messages {
        /// Messages in the maildrop.
        messages: usize,
        /// Their octets.
        octets: u64,
    },
    /// A message of so many octets.
    Octets(u64),
    /// A list.
    ListFollows,
    /// STLS was taken.
    BeginTls,
    /// TLS is on.
    TlsIsOn,
    /// There is no certificate.
    NoTls,
    /// STLS after UTF8.
    TlsBeforeUtf8,
    /// UTF8 was taken.
    Utf8IsOn,
    /// LANG was taken.
    LanguageChosen,
    /// LANG was not.
    LanguageUnknown,
    /// AUTH of something else.
    MechanismNotOffered,
    /// A mechanism that needs TLS here.
    MechanismNeedsTls,
    /// `*`
    Cancelled,
    /// No BASE64.
    NotBase64,
    /// An initial response where the server speaks first.
    NoInitialResponse,
    /// APOP without a timestamp in the greeting.
    NoApop,
    /// Wrong name or password.
    WrongCredentials,
    /// The account may not log in; the reason.
    AccountDisabled(&'a str),
    /// The directory cannot be asked.
    LoginUnavailable,
    /// Not from there, or not in that name.
    NotAllowedHere,
    /// Passwords need TLS, and this one was sent without.
    PasswordNeedsTls,
    /// Too many failures of the network.
    TooManyFailures,
    /// The name or the password is not UTF-8, or has characters that RFC 4013 forbids.
    ForbiddenCharacters,
    /// So many sessions are there already.
    TooManySessions(u32),
    /// Another session has the maildrop.
    InUse,
    /// Log in again in so many seconds.
    TooSoon(u64),
    /// The message is gone: another session deleted it.
    MessageGone,
    /// The message cannot be read; the session's id.
    MessageUnreadable(&'a str),
    /// Something broke; the session's id.
    Fault(&'a str),
    /// The mailbox is gone.
    MailboxGone,
    /// The server stops.
    Stopping,
    /// The connection is closed for failed logins.
    TooManyLogins,
    /// What somebody else wrote.
    Other(&'a str),
}

impl<'a> Text<'a> {
    /// In this language.
    pub fn say(&self, language: Language) -> Cow<'a, str> {
        if let Text::Other(text) = *self {
            return text.into();
        }
        match language {
            Language::English => self.english(),
            Language::German => self.german(),
            Language::French => self.french(),
        }
    }

    fn english(&self) -> Cow<'a, str> {
        match *self {
            Text::Ready => "Culver ready".into(),
            Text::NowThePassword => "Now the password".into(),
            Text::Welcome { messages, octets } => {
                format!("Logged in, {} ({octets} octets)", count(messages, "message", "messages")).into()
            }
            Text::Goodbye => "Goodbye".into(),
            Text::GoodbyeDeleted(n) => format!("Goodbye, {} deleted", count(n, "message", "messages")).into(),
            Text::NotAllDeleted => "Some of the messages could not be deleted; try again later".into(),
            Text::UnknownCommand => "Unknown command".into(),
            Text::WriteItAs(usage) => format!("Write it as: {usage}").into(),
            Text::LineTooLong(n) => format!("The line is longer than {n} octets").into(),
            Text::LogInFirst => "Log in first".into(),
            Text::LoggedInAlready => "You are logged in already".into(),
            Text::UserFirst => "USER comes before PASS".into(),
            Text::NoSuchMessage(n) => {
                format!("There is no such message: the maildrop has {}", count(n, "message", "messages"))
                    .into()
            }
            Text::NotANumber => "That is no message number".into(),
            Text::Deleted(n) => format!("Message {n} will be deleted at QUIT").into(),
            Text::DeletedAlready(n) => format!("Message {n} was deleted before").into(),
            Text::Reset => "No message will be deleted".into(),
            Text::Messages { messages, octets } => {
                format!("{} ({octets} octets)", count(messages, "message", "messages")).into()
            }
            Text::Octets(n) => format!("{n} octets").into(),
            Text::ListFollows => "The list follows".into(),
            Text::BeginTls => "Begin TLS negotiation now".into(),
            Text::TlsIsOn => "TLS is on already".into(),
            Text::NoTls => "There is no TLS here".into(),
            Text::TlsBeforeUtf8 => "STLS comes before UTF8".into(),
            Text::Utf8IsOn => "UTF-8 is on".into(),
            Text::LanguageChosen => "English is spoken from now on".into(),
            Text::LanguageUnknown => "That language is not spoken here; LANG lists those that are".into(),
            Text::MechanismNotOffered => "That mechanism is not offered here".into(),
            Text::MechanismNeedsTls => "This mechanism needs TLS here: use STLS or port 995".into(),
            Text::Cancelled => "Authentication cancelled".into(),
            Text::NotBase64 => "That is not valid BASE64".into(),
            Text::NoInitialResponse => "With this mechanism the server speaks first".into(),
            Text::NoApop => "APOP is not offered here".into(),
            Text::WrongCredentials => "The user name or the password is wrong".into(),
            Text::AccountDisabled("") => "This account is disabled: ask your administrator".into(),
            Text::AccountDisabled(reason) => format!("This account is disabled: {reason}").into(),
            Text::LoginUnavailable => {
                "Logging in is not possible for the moment: try again in a few minutes".into()
            }
            Text::NotAllowedHere => "This account may not log in from here or in that name".into(),
            Text::PasswordNeedsTls => "Logging in without TLS is disabled here: use STLS or port 995. \
                 A password that was just sent went in the clear; change it"
                .into(),
            Text::TooManyFailures => "Too many logins failed from your network: try again in a minute".into(),
            Text::ForbiddenCharacters => {
                "The user name or the password has characters that cannot be in one".into()
            }
            Text::TooManySessions(n) => {
                format!("This account has {n} sessions from your network already, which is the limit").into()
            }
            Text::InUse => "The maildrop is in use: is another mail program reading it?".into(),
            Text::TooSoon(n) => format!("Log in again in {n} seconds").into(),
            Text::MessageGone => "The message is gone: it was deleted elsewhere".into(),
            Text::MessageUnreadable(id) => {
                format!("The message cannot be read for now; quote {id} to your administrator").into()
            }
            Text::Fault(id) => {
                format!("The server could not do that for now; quote {id} to your administrator").into()
            }
            Text::MailboxGone => "The mailbox has been deleted".into(),
            Text::Stopping => "The server is stopping; connect again in a moment".into(),
            Text::TooManyLogins => "Too many failed logins".into(),
            Text::Other(text) => text.into(),
        }
    }

    fn german(&self) -> Cow<'a, str> {
        match *self {
            Text::Ready => "Culver ist bereit".into(),
            Text::NowThePassword => "Jetzt das Passwort".into(),
            Text::Welcome { messages, octets } => {
                format!("Angemeldet, {} ({octets} Oktette)", count(messages, "Nachricht", "Nachrichten")).into()
            }
            Text::Goodbye => "Auf Wiedersehen".into(),
            Text::GoodbyeDeleted(n) => {
                format!("Auf Wiedersehen, {} gelöscht", count(n, "Nachricht", "Nachrichten")).into()
            }
            Text::NotAllDeleted => {
                "Einige Nachrichten konnten nicht gelöscht werden; bitte später noch einmal versuchen".into()
            }
            Text::UnknownCommand => "Unbekannter Befehl".into(),
            Text::WriteItAs(usage) => format!("So wird es geschrieben: {usage}").into(),
            Text::LineTooLong(n) => format!("Die Zeile hat mehr als {n} Oktette").into(),
            Text::LogInFirst => "Bitte zuerst anmelden".into(),
            Text::LoggedInAlready => "Sie sind schon angemeldet".into(),
            Text::UserFirst => "USER kommt vor PASS".into(),
            Text::NoSuchMessage(n) => {
                format!("Diese Nachricht gibt es nicht: im Postfach {}", verb(n, "ist", "sind", "Nachricht", "Nachrichten"))
                    .into()
            }
            Text::NotANumber => "Das ist keine Nummer einer Nachricht".into(),
            Text::Deleted(n) => format!("Nachricht {n} wird bei QUIT gelöscht").into(),
            Text::DeletedAlready(n) => format!("Nachricht {n} ist schon gelöscht").into(),
            Text::Reset => "Keine Nachricht wird gelöscht".into(),
            Text::Messages { messages, octets } => {
                format!("{} ({octets} Oktette)", count(messages, "Nachricht", "Nachrichten")).into()
            }
            Text::Octets(n) => format!("{n} Oktette").into(),
            Text::ListFollows => "Die Liste folgt".into(),
            Text::BeginTls => "Jetzt TLS aushandeln".into(),
            Text::TlsIsOn => "TLS ist schon eingeschaltet".into(),
            Text::NoTls => "Hier gibt es kein TLS".into(),
            Text::TlsBeforeUtf8 => "STLS kommt vor UTF8".into(),
            Text::Utf8IsOn => "UTF-8 ist eingeschaltet".into(),
            Text::LanguageChosen => "Ab jetzt wird Deutsch gesprochen".into(),
            Text::LanguageUnknown => {
                "Diese Sprache wird hier nicht gesprochen; LANG zählt auf, welche es sind".into()
            }
            Text::MechanismNotOffered => "Dieses Verfahren wird hier nicht angeboten".into(),
            Text::MechanismNeedsTls => {
                "Dieses Verfahren braucht hier TLS: bitte STLS oder Port 995 benutzen".into()
            }
            Text::Cancelled => "Die Anmeldung wurde abgebrochen".into(),
            Text::NotBase64 => "Das ist kein gültiges BASE64".into(),
            Text::NoInitialResponse => "Bei diesem Verfahren spricht der Server zuerst".into(),
            Text::NoApop => "APOP wird hier nicht angeboten".into(),
            Text::WrongCredentials => "Der Benutzername oder das Passwort ist falsch".into(),
            Text::AccountDisabled("") => "Dieses Konto ist gesperrt: bitte den Administrator fragen".into(),
            Text::AccountDisabled(reason) => format!("Dieses Konto ist gesperrt: {reason}").into(),
            Text::LoginUnavailable => {
                "Die Anmeldung ist im Augenblick nicht möglich: bitte in ein paar Minuten noch einmal versuchen".into()
            }
            Text::NotAllowedHere => {
                "Dieses Konto darf sich von hier oder unter diesem Namen nicht anmelden".into()
            }
            Text::PasswordNeedsTls => "Ohne TLS ist die Anmeldung hier abgeschaltet: bitte STLS oder Port 995 \
                 benutzen. Ein eben gesendetes Passwort ging im Klartext über das Netz; bitte ändern"
                .into(),
            Text::TooManyFailures => {
                "Aus Ihrem Netz sind zu viele Anmeldungen fehlgeschlagen: bitte in einer Minute noch einmal versuchen"
                    .into()
            }
            Text::ForbiddenCharacters => {
                "Der Benutzername oder das Passwort enthält Zeichen, die dort nicht stehen können".into()
            }
            Text::TooManySessions(n) => {
                format!("Dieses Konto hat aus Ihrem Netz schon {n} Verbindungen; mehr sind nicht erlaubt").into()
            }
            Text::InUse => "Das Postfach ist in Benutzung: liest es gerade ein anderes Mailprogramm?".into(),
            Text::TooSoon(n) => format!("Bitte in {n} Sekunden wieder anmelden").into(),
            Text::MessageGone => "Die Nachricht ist nicht mehr da: sie wurde anderswo gelöscht".into(),
            Text::MessageUnreadable(id) => {
                format!("Die Nachricht kann im Augenblick nicht gelesen werden; dem Administrator {id} nennen")
                    .into()
            }
            Text::Fault(id) => {
                format!("Das konnte der Server im Augenblick nicht tun; dem Administrator {id} nennen").into()
            }
            Text::MailboxGone => "Das Postfach wurde gelöscht".into(),
            Text::Stopping => "Der Server wird angehalten; bitte gleich wieder verbinden".into(),
            Text::TooManyLogins => "Zu viele fehlgeschlagene Anmeldungen".into(),
            Text::Other(text) => text.into(),
        }
    }

    fn french(&self) -> Cow<'a, str> {
        match *self {
            Text::Ready => "Culver est prêt".into(),
            Text::NowThePassword => "Maintenant le mot de passe".into(),
            Text::Welcome { messages, octets } => {
                format!("Connecté, {} ({octets} octets)", count(messages, "message", "messages")).into()
            }
            Text::Goodbye => "Au revoir".into(),
            Text::GoodbyeDeleted(n) => {
                format!("Au revoir, {}", count(n, "message supprimé", "messages supprimés")).into()
            }
            Text::NotAllDeleted => {
                "Certains messages n'ont pas pu être supprimés ; réessayez plus tard".into()
            }
            Text::UnknownCommand => "Commande inconnue".into(),
            Text::WriteItAs(usage) => format!("Écrivez : {usage}").into(),
            Text::LineTooLong(n) => format!("La ligne dépasse {n} octets").into(),
            Text::LogInFirst => "Connectez-vous d'abord".into(),
            Text::LoggedInAlready => "Vous êtes déjà connecté".into(),
            Text::UserFirst => "USER vient avant PASS".into(),
            Text::NoSuchMessage(n) => {
                format!("Ce message n'existe pas : la boîte contient {}", count(n, "message", "messages"))
                    .into()
            }
            Text::NotANumber => "Ce n'est pas un numéro de message".into(),
            Text::Deleted(n) => format!("Le message {n} sera supprimé à QUIT").into(),
            Text::DeletedAlready(n) => format!("Le message {n} est déjà supprimé").into(),
            Text::Reset => "Aucun message ne sera supprimé".into(),
            Text::Messages { messages, octets } => {
                format!("{} ({octets} octets)", count(messages, "message", "messages")).into()
            }
            Text::Octets(n) => format!("{n} octets").into(),
            Text::ListFollows => "La liste suit".into(),
            Text::BeginTls => "Commencez la négociation TLS".into(),
            Text::TlsIsOn => "TLS est déjà actif".into(),
            Text::NoTls => "Il n'y a pas de TLS ici".into(),
            Text::TlsBeforeUtf8 => "STLS vient avant UTF8".into(),
            Text::Utf8IsOn => "UTF-8 est actif".into(),
            Text::LanguageChosen => "Le français est parlé désormais".into(),
            Text::LanguageUnknown => {
                "Cette langue n'est pas parlée ici ; LANG énumère celles qui le sont".into()
            }
            Text::MechanismNotOffered => "Ce mécanisme n'est pas proposé ici".into(),
            Text::MechanismNeedsTls => "Ce mécanisme exige TLS ici : utilisez STLS ou le port 995".into(),
            Text::Cancelled => "Authentification annulée".into(),
            Text::NotBase64 => "Ce n'est pas du BASE64 valide".into(),
            Text::NoInitialResponse => "Avec ce mécanisme, le serveur parle en premier".into(),
            Text::NoApop => "APOP n'est pas proposé ici".into(),
            Text::WrongCredentials => "Le nom d'utilisateur ou le mot de passe est faux".into(),
            Text::AccountDisabled("") => "Ce compte est désactivé : demandez à votre administrateur".into(),
            Text::AccountDisabled(reason) => format!("Ce compte est désactivé : {reason}").into(),
            Text::LoginUnavailable => {
                "La connexion n'est pas possible pour le moment : réessayez dans quelques minutes".into()
            }
            Text::NotAllowedHere => "Ce compte ne peut pas se connecter d'ici ou sous ce nom".into(),
            Text::PasswordNeedsTls => {
                "Sans TLS, la connexion est désactivée ici : utilisez STLS ou le port 995. \
                 Un mot de passe qui vient d'être envoyé est passé en clair ; changez-le"
                    .into()
            }
            Text::TooManyFailures => {
                "Trop de connexions ont échoué depuis votre réseau : réessayez dans une minute".into()
            }
            Text::ForbiddenCharacters => {
                "Le nom d'utilisateur ou le mot de passe contient des caractères interdits".into()
            }
            Text::TooManySessions(n) => {
                format!("Ce compte a déjà {n} sessions depuis votre réseau, ce qui est la limite").into()
            }
            Text::InUse => "La boîte est occupée : un autre logiciel de courrier la lit-il ?".into(),
            Text::TooSoon(n) => format!("Reconnectez-vous dans {n} secondes").into(),
            Text::MessageGone => "Le message n'est plus là : il a été supprimé ailleurs".into(),
            Text::MessageUnreadable(id) => {
                format!("Le message ne peut pas être lu pour le moment ; citez {id} à votre administrateur")
                    .into()
            }
            Text::Fault(id) => {
                format!("Le serveur n'a pas pu le faire pour le moment ; citez {id} à votre administrateur")
                    .into()
            }
            Text::MailboxGone => "La boîte a été supprimée".into(),
            Text::Stopping => "Le serveur s'arrête ; reconnectez-vous dans un instant".into(),
            Text::TooManyLogins => "Trop de connexions échouées".into(),
            Text::Other(text) => text.into(),
        }
    }
}

fn count(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

fn verb(n: usize, is: &str, are: &str, one: &str, many: &str) -> String {
    if n == 1 { format!("{is} 1 {one}") } else { format!("{are} {n} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_find_languages() {
        for (range, want) in [
            ("de", Some(Language::German)),
            ("DE-at", Some(Language::German)),
            ("fr-CA", Some(Language::French)),
            ("en", Some(Language::English)),
            ("uga", None),
            ("d", None),
            ("", None),
            ("*", None),
        ] {
            assert_eq!(Language::find(range), want, "{range}");
        }
    }

    #[test]
    fn english_is_ascii_and_the_others_are_others() {
        let texts = [
            Text::Ready,
            Text::Welcome { messages: 1, octets: 2 },
            Text::NoSuchMessage(1),
            Text::NoSuchMessage(4),
            Text::WrongCredentials,
            Text::InUse,
            Text::LanguageChosen,
            Text::AccountDisabled(""),
            Text::Deleted(3),
        ];
        for text in texts {
            assert!(text.say(Language::English).is_ascii());
            for other in [Language::German, Language::French] {
                assert_ne!(text.say(other), text.say(Language::English));
            }
        }
        assert_eq!(
            Text::NoSuchMessage(1).say(Language::German),
            "Diese Nachricht gibt es nicht: im Postfach ist 1 Nachricht"
        );
        assert_eq!(Text::Other("x").say(Language::French), "x");
    }
}
