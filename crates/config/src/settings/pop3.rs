//! The settings of POP3. Those that Dovecot has too keep their names, without `pop3_` in front.

use crate::item::choice;
use crate::section::section;
use culver_base::Network;
use std::net::SocketAddr;
use std::time::Duration;

choice! {
    /// What becomes of messages with equal unique identifiers.
    UidlDuplicates {
        /// They keep them.
        "allow" => Allow,
        /// The second gets `-2` behind it, and so on.
        "rename" => Rename,
    } default Allow
}

choice! {
    /// What QUIT does with messages that were deleted.
    Pop3Delete {
        /// As `deleted_flag` is set or not.
        "default" => Default,
        /// They are removed.
        "expunge" => Expunge,
        /// They get the keyword `deleted_flag` and stay.
        "flag" => Flag,
    } default Default
}

choice! {
    /// A language that POP3 speaks.
    Pop3Language {
        /// English
        "en" => English,
        /// German
        "de" => German,
        /// French
        "fr" => French,
    } default English
}

section! {
    /// POP3 (port 110, with STLS). It serves INBOX.
    Pop3 {
        /// Addresses and ports. An IPv6 address takes no IPv4 connections. Empty: the service is off. Sockets that systemd
        /// hands over under the name `pop3` are used instead.
        listen: Vec<SocketAddr> = Vec::new(), Restart, "[\"0.0.0.0:110\", \"[::]:110\"]";
        /// Networks of proxies, as in `imap.proxy_from`.
        proxy_from: Vec<Network> = Vec::new(), Restart, "[\"192.0.2.7\"]";
        /// A session from which nothing was heard for so long is ended; nothing is deleted then. RFC 1939 §3 asks for 10
        /// minutes at least.
        idle_timeout: Duration = Duration::from_secs(10 * 60), Reload, "\"30m\"";
        /// A connection that has not logged in is closed after this long.
        login_timeout: Duration = Duration::from_secs(60), Reload, "\"3m\"";
        /// Sessions of one account from one network (an IPv4 address, an IPv6 /64).
        max_sessions: u32 = 200, Reload, "10";
        /// Capabilities that are neither shown nor served, for clients with trouble; APOP counts as one.
        hide_capabilities: Vec<String> = Vec::new(), Reload, "[\"UTF8\", \"LANG\"]";
        /// What a client gets that asks for any language (`LANG *`). Others are spoken when they are asked for.
        language: Pop3Language = Pop3Language::English, Reload, "\"de\"";
        /// An account may log in once in so long, told to clients as LOGIN-DELAY. 0: as often as it likes.
        login_delay: Duration = Duration::ZERO, Reload, "\"5m\"";
        /// After how many days the site deletes mail, told to clients as EXPIRE; `never` if it does not. Culver itself deletes
        /// nothing.
        expire: String = "never".to_owned(), Reload, "\"60\"";
        /// What unique identifiers are made of: `%u` is the UID, `%v` UIDVALIDITY, `%08Xu` eight hexadecimal digits, `%f` the
        /// name of the file without flags, `%g` the GUID; the words of Dovecot 2.4 (`%{uid | hex(8)}`) are taken as well. Keep
        /// what the server before had, or clients download everything again. Identifiers that stand in `dovecot-uidlist` come first.
        uidl_format: String = "%08Xu%08Xv".to_owned(), Reload, "\"%v-%u\"";
        /// What becomes of messages with equal identifiers: `allow` or `rename` (`-2` behind the second).
        uidl_duplicates: UidlDuplicates = UidlDuplicates::Allow, Reload, "\"rename\"";
        /// Are identifiers that a client was told written to `dovecot-uidlist`, so that they outlive a change of the format?
        save_uidl: bool = false, Reload, "true";
        /// Does the field X-UIDL of a message count as its identifier, as some servers of old wrote it?
        reuse_xuidl: bool = false, Reload, "true";
        /// Do messages stay unseen for IMAP when POP3 retrieves them?
        no_flag_updates: bool = false, Reload, "true";
        /// Is a size taken from the file when the one that clients receive has not been counted yet? It is too small by one for
        /// each line then.
        fast_size_lookups: bool = false, Reload, "true";
        /// May an account have one session at a time only? Dovecot on the same mail heeds it too (`dovecot-pop3-session.lock`).
        lock_session: bool = false, Reload, "true";
        /// Is there the command LAST, for clients older than UIDL?
        enable_last: bool = false, Reload, "true";
        /// A keyword. Messages that have it are not shown to POP3; IMAP still has them.
        deleted_flag: String = String::new(), Reload, "\"$POP3Deleted\"";
        /// What QUIT does with messages that were deleted: `expunge` removes them, `flag` gives them the keyword `deleted_flag`,
        /// `default` does the latter if there is such a keyword.
        delete_type: Pop3Delete = Pop3Delete::Default, Reload, "\"expunge\"";
        /// For clients with trouble: `outlook-no-nuls` sends 0x80 for NUL octets, `oe-ns-eoh` an empty line behind a header that
        /// lacks one.
        client_workarounds: Vec<String> = Vec::new(), Reload, "[\"outlook-no-nuls\", \"oe-ns-eoh\"]";
    }
}

section! {
    /// POP3 over TLS from the first byte (port 995). Needs a certificate. All else is as in `[pop3]`.
    Pop3s {
        /// Addresses and ports, as in `pop3.listen`. Sockets that systemd hands over under the name `pop3s` are used instead.
        listen: Vec<SocketAddr> = Vec::new(), Restart, "[\"0.0.0.0:995\", \"[::]:995\"]";
        /// Networks of proxies, as in `imap.proxy_from`. The header comes before TLS.
        proxy_from: Vec<Network> = Vec::new(), Restart, "[\"192.0.2.7\"]";
    }
}
