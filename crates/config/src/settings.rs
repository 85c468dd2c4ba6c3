//! Every setting, once.
//!
//! A row is: documentation, name, type, default, when a change counts, example. The documentation is what an
//! administrator reads in `culver config show`, in the default file and in `docs/reference/settings.md`.

use crate::item::choice;
use crate::section::section;
use crate::value::{Mode, Size};
use culver_base::Network;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

mod ldap;
mod oauth2;
mod pop3;
mod system;

pub use ldap::{Ldap, LdapScope};
pub use oauth2::{IntrospectionMode, OAuth2};
pub use pop3::{Pop3, Pop3Delete, Pop3Language, Pop3s, UidlDuplicates};
pub use system::System;

section! {
    /// Settings of the server as a whole.
    Settings {
        /// The server's own folder: indexes, caches and the built-in directory. It must belong to the service user and
        /// lie outside of every user's quota. What lies there besides the directory can be lost without harm: it is made anew.
        state_dir: PathBuf = PathBuf::from("/var/lib/culver"), Restart, "\"/var/lib/culver\"";
        /// The server's name in greetings and in names of new message files. Empty: the machine's own name. Keep what Dovecot
        /// used before (`hostname`), since programs that share the Maildir recognise locks by it.
        hostname: String = String::new(), Restart, "\"mail.example.org\"";
        /// The user as which the server runs when it was started as root. Empty: root stays root, which is for machines that
        /// serve nothing else. Systemd's unit starts the server as this user already.
        user: String = String::new(), Restart, "\"culver\"";
        /// Does the server lock itself in (Landlock, seccomp, no new privileges) once it has started?
        sandbox: bool = true, Restart, "false";
        /// When the server stops, sessions have so long to take note.
        drain_timeout: Duration = Duration::from_secs(10), Reload, "\"30s\"";
        /// Connections at once over all listeners. Beyond that, clients wait until others leave.
        max_connections: u32 = 50_000, Restart, "10000";
        [log]: Log;
        [tls]: Tls;
        [auth]: Auth;
        [mail]: Mail;
        [imap]: Imap;
        [imaps]: Imaps;
        [pop3]: Pop3;
        [pop3s]: Pop3s;
        [auth_socket]: AuthSocket;
        [lmtp]: Lmtp;
        [deliver]: Deliver;
        [lookup]: Lookup;
        [policy]: Policy;
        [store]: Store;
        [quota]: Quota;
        [[directory]]: Directory = vec![Directory::default()];
        [[mailbox]]: Mailbox = default_mailboxes();
    }
}

choice! {
    /// How lines of the log look.
    LogStyle {
        /// Sentences.
        "plain" => Plain,
        /// Dovecot's words.
        "dovecot" => Dovecot,
        /// JSON.
        "json" => Json,
    } default Plain
}

choice! {
    /// What is written.
    LogLevel {
        /// Everything.
        "debug" => Debug,
        /// What happens every day, and all below.
        "info" => Info,
        /// What somebody should look at.
        "warning" => Warning,
        /// What could not be done.
        "error" => Error,
    } default Info
}

section! {
    /// The log.
    Log {
        /// `plain` for people, `json` for machines, `dovecot` for programs that read Dovecot's log, such as fail2ban's
        /// rules: logins, failed logins and the ends of sessions are then told in Dovecot's words.
        style: LogStyle = LogStyle::Plain, Reload, "\"dovecot\"";
        /// The least important lines that are written.
        level: LogLevel = LogLevel::Info, Reload, "\"debug\"";
        /// A file to append to, opened again on SIGHUP (for logrotate). Empty: standard error, which systemd gives to
        /// the journal.
        file: PathBuf = PathBuf::new(), Reload, "\"/var/log/culver.log\"";
    }
}

choice! {
    /// The oldest TLS version.
    TlsVersion {
        /// TLS 1.2.
        "1.2" => Tls12,
        /// TLS 1.3.
        "1.3" => Tls13,
    } default Tls12
}

choice! {
    /// Where the name stands in a client's certificate.
    ClientName {
        /// The first mail address among the alternative names.
        "address" => Address,
        /// The common name of the subject.
        "common-name" => CommonName,
    } default Address
}

section! {
    /// TLS, for imaps and for STARTTLS.
    Tls {
        /// The oldest version that is spoken. Older than 1.2 is not possible.
        min_version: TlsVersion = TlsVersion::Tls12, Restart, "\"1.3\"";
        /// Certificates (PEM) of the authorities whose clients may log in by their certificates (SASL EXTERNAL). With it, clients
        /// are asked for one, and still served without; one that another authority has signed fails. Empty: nobody is asked.
        client_ca: PathBuf = PathBuf::new(), Restart, "\"/etc/culver/clients.pem\"";
        /// Where the account's name stands in a client's certificate: `address` (alternative name rfc822Name) or `common-name`.
        client_name: ClientName = ClientName::Address, Restart, "\"common-name\"";
        [[certificate]]: Certificate = Vec::new();
    }
}

section! {
    /// A certificate, once for each. Clients get the one whose names (subject alternative names) hold the name they ask for,
    /// others the first. The files are read again when they change; no reload is needed.
    Certificate {
        /// The certificate with its intermediate ones (`fullchain.pem`), as PEM.
        certificate: PathBuf = PathBuf::new(), Reload, "\"/etc/letsencrypt/live/mail.example.org/fullchain.pem\"";
        /// Its private key, as PEM. The service user must be able to read it.
        key: PathBuf = PathBuf::new(), Reload, "\"/etc/letsencrypt/live/mail.example.org/privkey.pem\"";
    }
}

choice! {
    /// How weak passwords are stored anew.
    Rehash {
        /// Not at all.
        "no" => No,
        /// Serves PLAIN and SCRAM.
        "scram-sha-256" => ScramSha256,
        /// Hardest to guess for a thief.
        "argon2id" => Argon2id,
        /// Read by many other programs.
        "sha512-crypt" => Sha512Crypt,
        /// bcrypt.
        "blf-crypt" => BlfCrypt,
    } default No
}

section! {
    /// Who may log in, and how.
    Auth {
        /// Are passwords refused on connections without TLS? Connections from the machine itself are always let in.
        require_tls: bool = true, Reload, "false";
        /// How long the answer to a failed login waits at least. It grows with the failures of the client's network.
        failure_delay: Duration = Duration::from_secs(2), Reload, "\"5s\"";
        /// A connection is closed after so many failed logins.
        max_failures: u32 = 10, Reload, "3";
        /// After so many different wrong passwords for one account from one network (an IPv4 address, an IPv6 /48) within
        /// `block_period`, that account is blocked for that network; a client that repeats an old password counts once.
        /// `culver auth blocks` lists and lifts blocks. 0: never.
        block_after: u32 = 20, Reload, "10";
        /// The same for all accounts together: then the network is blocked as a whole. Many people may share an address. 0: never.
        block_network_after: u32 = 200, Reload, "1000";
        /// Wrong passwords are counted over so long.
        block_period: Duration = Duration::from_secs(15 * 60), Reload, "\"1h\"";
        /// A block lasts so long.
        block_time: Duration = Duration::from_secs(15 * 60), Reload, "\"1h\"";
        /// Passwords in the built-in directory that are stored by a weak scheme (MD5, DES) are stored anew by this one when their
        /// owners log in with them. `no`: they stay as they are, and the log tells.
        rehash: Rehash = Rehash::No, Reload, "\"scram-sha-256\"";
        /// SASL mechanisms that are offered, the preferred ones first. Empty: PLAIN and LOGIN, SCRAM and CRAM-MD5 when every
        /// password is stored so that they work for all, EXTERNAL to clients with a certificate, OAUTHBEARER and XOAUTH2 when
        /// there is a source for tokens. Clients take the strongest one before anybody knows who they are: what is named here
        /// must suit the passwords of all. DIGEST-MD5 and ANONYMOUS exist only when they are named.
        mechanisms: Vec<String> = Vec::new(), Reload, "[\"SCRAM-SHA-256\", \"PLAIN\", \"LOGIN\"]";
        /// A passwd-file of master users, who may log in as any account with their own password. Names without a domain will do.
        /// Accounts become masters by `culver user master`.
        master_users: PathBuf = PathBuf::new(), Restart, "\"/etc/culver/masters\"";
        /// What stands between account and master in a user name, as in `anna@example.org*master`. Empty: that form does not
        /// exist; a master can still name the account as authorization identity of PLAIN and others.
        master_separator: String = String::new(), Reload, "\"*\"";
        /// A policy service such as weakforced, asked as Dovecot asks it, over HTTP or HTTPS: `allow` before the password is looked at and
        /// again when it was right, `report` at the end. When it does not answer, logins go on without it. Empty: none.
        policy_url: String = String::new(), Restart, "\"http://localhost:4001/\"";
        /// Authorities (PEM) that sign the policy service's certificate. Empty: those of the system.
        policy_ca_file: PathBuf = PathBuf::new(), Restart, "\"/etc/ssl/policy-ca.pem\"";
        /// A header that the policy service wants, such as Basic authorization; a text without a colon is sent as X-API-Key.
        policy_header: String = String::new(), Restart, "\"Authorization: Basic d2ZvcmNlOnNlY3JldA==\"";
        /// What is hashed with passwords for the policy service: the same secret on all servers that ask it. Of the hash it hears
        /// twelve bits.
        policy_nonce: String = String::new(), Restart, "\"a long random text\"";
        /// The policy service has so long to answer.
        policy_timeout: Duration = Duration::from_secs(2), Restart, "\"500ms\"";
        /// The account that ANONYMOUS opens, if `mechanisms` names it.
        anonymous_user: String = String::new(), Reload, "\"guest@example.org\"";
        /// Accounts with a user id below this are refused, so that a mistake in a directory does not hand out root's
        /// files. 0 is always refused.
        first_valid_uid: u32 = 500, Restart, "1000";
        /// The same for group ids.
        first_valid_gid: u32 = 1, Restart, "1000";
    }
}

choice! {
    /// A kind of directory.
    Source {
        /// The one that `culver user` and `culver domain` edit.
        "builtin" => Builtin,
        /// Dovecot's passwd-file.
        "passwd-file" => PasswdFile,
        /// Queries on PostgreSQL, MySQL, MariaDB or SQLite.
        "sql" => Sql,
        /// A directory server.
        "ldap" => Ldap,
        /// A provider of tokens.
        "oauth2" => OAuth2,
        /// The users of this machine, by PAM and NSS.
        "system" => System,
        /// Every account is the same but for its name.
        "static" => Static,
    } default Builtin
}

choice! {
    /// What a source is asked for.
    Serves {
        /// Passwords, and who the users are.
        "both" => Both,
        /// Passwords only.
        "passwords" => Passwords,
        /// Who the users are.
        "accounts" => Accounts,
    } default Both
}

choice! {
    /// What follows from a source's answer.
    Rule {
        /// Yes, and nobody else is asked.
        "return-ok" => ReturnOk,
        /// No, and nobody else is asked.
        "return-fail" => ReturnFail,
        /// What earlier sources said stands.
        "return" => Return,
        /// Yes unless a later one says otherwise.
        "continue-ok" => ContinueOk,
        /// No unless a later one says otherwise.
        "continue-fail" => ContinueFail,
        /// As earlier sources said unless a later one says otherwise.
        "continue" => Continue,
    } default Continue
}

choice! {
    /// When a source is passed over.
    Skip {
        /// Never.
        "never" => Never,
        /// When the password was proved already.
        "authenticated" => Authenticated,
        /// As long as it was not.
        "unauthenticated" => Unauthenticated,
    } default Never
}

section! {
    /// A source of accounts, once for each; they are asked in this order. Without any, the built-in directory is the only one.
    Directory {
        /// `builtin`: the directory in `state_dir`, or on PostgreSQL when `[directory.sql]` names its `hosts`, edited by `culver user`
        /// and `culver domain`. `passwd-file`: a file as Dovecot reads it. `sql`: your own queries. `ldap`: a directory server. `oauth2`: a provider of tokens. `system`: the users of
        /// this machine, by PAM and NSS. `static`: every account is the same but for its name.
        source: Source = Source::Builtin, Restart, "\"passwd-file\"";
        /// Its name in the log. Empty: what `source` says.
        name: String = String::new(), Restart, "\"staff\"";
        /// `both`: passwords, and who the users are. `passwords`: only whether a password is right (Dovecot's passdb); where the
        /// mail lies says a later source. `accounts`: only who the users are (Dovecot's userdb).
        serves: Serves = Serves::Both, Restart, "\"passwords\"";
        /// It is asked for logins of these domains only. Empty: for all.
        domains: Vec<String> = Vec::new(), Restart, "[\"example.org\"]";
        /// What follows when it says yes.
        result_success: Rule = Rule::ReturnOk, Restart, "\"continue-ok\"";
        /// What follows when it says no: the user is unknown or the password wrong.
        result_failure: Rule = Rule::Continue, Restart, "\"return-fail\"";
        /// What follows when it cannot be asked. Such a login fails for the moment, not for a wrong password, unless another
        /// source says yes. With `return-ok` or `continue-ok` everybody would be let in then, as in Dovecot.
        result_internalfail: Rule = Rule::Continue, Restart, "\"return-fail\"";
        /// When it is passed over: `authenticated` when an earlier source has proved the password already, `unauthenticated` as
        /// long as none has.
        skip: Skip = Skip::Never, Restart, "\"authenticated\"";
        /// Are the accounts that it knows not let in, whatever their password?
        deny: bool = false, Restart, "true";
        /// Does it have the passwords of master users, who log in as others? Nobody else is then looked for in it.
        master: bool = false, Restart, "true";
        /// The passwd-file, or the file of SQLite. `%d` in the name of a passwd-file is the domain.
        path: PathBuf = PathBuf::new(), Restart, "\"/etc/culver/users\"";
        /// The scheme of passwords that name none.
        default_scheme: String = "CRYPT".to_owned(), Restart, "\"SHA512-CRYPT\"";
        /// Fields that every account has unless the source says otherwise, in Dovecot's words; those of the user's side begin with
        /// `userdb_`. For `static` they are all there is.
        fields: Vec<String> = Vec::new(), Restart, "[\"userdb_quota_rule=*:storage=1G\", \"allow_nets=192.0.2.0/24\"]";
        /// With `static`: is every name an account? Otherwise the sources of passwords are asked whether they know it.
        allow_all_users: bool = false, Restart, "true";
        /// The home of accounts of which the source knows none. `%u` is the address, `%n` its part before and `%d` that
        /// behind the @.
        home: String = "/var/vmail/%d/%n".to_owned(), Restart, "\"/srv/mail/%d/%n\"";
        /// The user id of accounts of which the source knows none. 0: the server's own.
        uid: u32 = 0, Restart, "5000";
        /// The group id of accounts of which the source knows none. 0: the server's own.
        gid: u32 = 0, Restart, "5000";
        [cache]: Cache;
        [sql]: Sql;
        [ldap]: Ldap;
        [oauth2]: OAuth2;
        [system]: System;
        [[domain]]: Domain = Vec::new();
    }
}

section! {
    /// What is remembered of a source's answers that is asked over the network or through another process (`sql`, `ldap`, `system`,
    /// `oauth2` with introspection). A password that was right before and is wrong now is looked up again, so a changed one counts
    /// at once. With binds (`ldap`) and PAM (`system`) a
    /// right password is remembered too, so an old one may still be let in for `ttl`.
    Cache {
        /// Answers about so many names, of each kind. 0: nothing is remembered.
        entries: u32 = 10_000, Restart, "0";
        /// An account is remembered so long.
        ttl: Duration = Duration::from_secs(60), Restart, "\"1h\"";
        /// That there is no such account is remembered so long.
        negative_ttl: Duration = Duration::from_secs(10), Restart, "\"1m\"";
        /// While the source cannot be asked, mail is still delivered to accounts that it knew so long ago at most, and who proved
        /// their password is let in. Passwords themselves are not taken from there.
        stale: Duration = Duration::from_secs(3600), Restart, "\"1d\"";
    }
}

choice! {
    /// A kind of database.
    Driver {
        /// PostgreSQL.
        "postgresql" => PostgreSql,
        /// MySQL or MariaDB.
        "mysql" => MySql,
        /// A file of SQLite.
        "sqlite" => Sqlite,
    } default PostgreSql
}

section! {
    /// Queries (`source = "sql"`). `%u` is the address, `%n` and `%d` its parts; also `%{user}`, `%{username}`, `%{domain}`. They are
    /// handed over as parameters, never as text of the query, with or without quotes around them. With `source = "builtin"` they say on
    /// which PostgreSQL the built-in directory is that several machines share; it has no queries then.
    Sql {
        /// `postgresql`, `mysql` (also MariaDB) or `sqlite`, whose file is `path`.
        driver: Driver = Driver::PostgreSql, Restart, "\"mysql\"";
        /// Host names or addresses, with a port if it is not the usual one; or the path of a unix socket (PostgreSQL: of its
        /// folder). The first one that answers is used.
        hosts: Vec<String> = Vec::new(), Restart, "[\"db1.example.org\", \"db2.example.org:5433\"]";
        /// The database.
        database: String = String::new(), Restart, "\"mail\"";
        /// The user of the database.
        user: String = String::new(), Restart, "\"culver\"";
        /// Its password. The configuration should then be readable by the service user only.
        password: String = String::new(), Restart, "\"secret\"";
        /// TLS: `no`, `starttls` (it is asked for, and nothing is sent without).
        tls: DatabaseTls = DatabaseTls::No, Restart, "\"starttls\"";
        /// Authorities (PEM) that sign the database's certificate. Empty: those of the system.
        ca_file: PathBuf = PathBuf::new(), Restart, "\"/etc/ssl/db-ca.pem\"";
        /// Gives `password` for a login, and what else Dovecot's password_query gives (`user`, `nologin`, `allow_nets`, `userdb_home`, ...).
        password_query: String = String::new(), Restart, "\"SELECT password FROM users WHERE name = '%n' AND domain = '%d'\"";
        /// Gives `uid`, `gid`, `home`, `mail`, `quota_rule`, ... of an account. Not needed when `password_query` gives them as `userdb_` fields.
        user_query: String = String::new(), Restart, "\"SELECT home, uid, gid FROM users WHERE name = '%n' AND domain = '%d'\"";
        /// Gives the names of all accounts as `user`, or as `username` and `domain`.
        iterate_query: String = String::new(), Restart, "\"SELECT name AS username, domain FROM users\"";
        /// Connections at once.
        connections: u32 = 5, Restart, "20";
        /// A connection must stand within this time.
        connect_timeout: Duration = Duration::from_secs(5), Restart, "\"10s\"";
        /// A query must be answered within this time.
        query_timeout: Duration = Duration::from_secs(10), Restart, "\"30s\"";
    }
}

choice! {
    /// TLS to a server.
    DatabaseTls {
        /// None.
        "no" => No,
        /// Asked for on a plain connection, and needed.
        "starttls" => StartTls,
    } default No
}

section! {
    /// Further domains of a passwd-file, once for each primary domain. Every address of the primary domain exists in each.
    Domain {
        /// The primary domain, as the file has it.
        name: String = String::new(), Restart, "\"example.org\"";
        /// Its other names.
        aliases: Vec<String> = Vec::new(), Restart, "[\"example.net\", \"example.com\"]";
    }
}

choice! {
    /// How mailboxes lie in a Maildir.
    MailLayout {
        /// `.Parent.Child` side by side.
        "maildir++" => MaildirPlusPlus,
        /// `Parent/Child`, one in the other.
        "fs" => Fs,
    } default MaildirPlusPlus
}

section! {
    /// Where mail lies.
    Mail {
        /// The Maildir of an account that says nothing else. `~` is its home, `%u`, `%n` and `%d` as in Dovecot.
        location: String = "~/Mail".to_owned(), Restart, "\"~/Maildir\"";
        /// How mailboxes lie in it: `maildir++` (`.Archive.2026`, what Dovecot calls LAYOUT=maildir++) or `fs` (`Archive/2026`).
        layout: MailLayout = MailLayout::MaildirPlusPlus, Restart, "\"fs\"";
        /// Characters that begin the detail of an address: mail for `anna+lists@example.org` is anna's, unless that address has a
        /// route of its own. Empty: addresses have no details. Keep it the same as the MTA's (`recipient_delimiter` of Postfix).
        recipient_delimiter: String = "+".to_owned(), Restart, "\"+-\"";
        /// Folders below which mail lies. The sandbox keeps the server out of all else that belongs to users; folders that do not
        /// exist are left out.
        roots: Vec<PathBuf> = ["/home", "/var/mail", "/var/vmail", "/srv"].map(PathBuf::from).to_vec(), Restart, "[\"/data/mail\"]";
    }
}

choice! {
    /// Is a mailbox made by itself?
    Auto {
        /// No; only its role is known.
        "no" => No,
        /// Yes.
        "create" => Create,
        /// Yes, and subscribed.
        "subscribe" => Subscribe,
    } default No
}

choice! {
    /// A role of a mailbox.
    SpecialUse {
        /// None.
        "" => None,
        /// \Drafts
        "drafts" => Drafts,
        /// \Sent
        "sent" => Sent,
        /// \Junk
        "junk" => Junk,
        /// \Trash
        "trash" => Trash,
        /// \Archive
        "archive" => Archive,
        /// \Flagged
        "flagged" => Flagged,
        /// \All
        "all" => All,
    } default None
}

section! {
    /// A mailbox that every account has, once for each. The list in the file replaces the default one.
    Mailbox {
        /// Its name, with `/` between levels.
        name: String = String::new(), Reload, "\"Sent\"";
        /// Its role (RFC 6154), by which clients find it.
        special_use: SpecialUse = SpecialUse::None, Reload, "\"sent\"";
        /// `create`: it is made when the account logs in. `subscribe`: and subscribed to. `no`: clients make it; only its role is
        /// told.
        auto: Auto = Auto::No, Reload, "\"subscribe\"";
        /// Percent of the limits that may be stored here in addition, when the account is full: room for a Trash.
        quota_extra: u32 = 0, Reload, "10";
        /// Do its messages count for the quota? Courier counts neither those of Trash nor, what Culver does not imitate, those that
        /// are marked as deleted.
        quota_counts: bool = true, Restart, "false";
    }
}

fn default_mailboxes() -> Vec<Mailbox> {
    let of = |name: &str, special_use, auto| {
        let quota_extra = if special_use == SpecialUse::Trash { 10 } else { 0 };
        Mailbox { name: name.to_owned(), special_use, auto, quota_extra, quota_counts: true }
    };
    vec![
        of("Drafts", SpecialUse::Drafts, Auto::Subscribe),
        of("Sent", SpecialUse::Sent, Auto::Subscribe),
        of("Junk", SpecialUse::Junk, Auto::Subscribe),
        of("Trash", SpecialUse::Trash, Auto::Subscribe),
        of("Archive", SpecialUse::Archive, Auto::No),
    ]
}

fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![
        SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
        SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
    ]
}

section! {
    /// A unix socket. The folder must exist; where the service user may not write to it, let systemd make the socket
    /// (`ListenStream=` with `FileDescriptorName=` of the service's name).
    UnixSocket {
        /// Its path.
        path: PathBuf = PathBuf::new(), Restart, "\"/run/culver/lmtp\"";
        /// Who may connect: the permissions of the socket.
        mode: Mode = Mode(0o660), Restart, "\"0600\"";
        /// Its owner. Empty: the user as which the server is started.
        user: String = String::new(), Restart, "\"postfix\"";
        /// Its group. Empty: that user's.
        group: String = String::new(), Restart, "\"postfix\"";
    }
}

section! {
    /// IMAP (port 143, with STARTTLS).
    Imap {
        /// Addresses and ports. An IPv6 address takes no IPv4 connections. Empty: the service is off. Sockets that systemd
        /// hands over under the name `imap` are used instead.
        listen: Vec<SocketAddr> = everywhere(143), Restart, "[\"127.0.0.1:143\", \"[::1]:143\"]";
        /// Networks of proxies (HAProxy's `send-proxy`, version 1 or 2): each of their connections must begin with a PROXY
        /// header, whose client address then counts everywhere. Others must not send one.
        proxy_from: Vec<Network> = Vec::new(), Restart, "[\"192.0.2.7\"]";
        /// The largest message that APPEND takes, told to clients as APPENDLIMIT. 0: no limit.
        append_limit: Size = Size(128 << 20), Reload, "\"50MiB\"";
        /// The longest command line. Clients name thousands of messages in one.
        line_limit: Size = Size(64 << 10), Reload, "\"256KiB\"";
        /// Literals up to this size are held in memory, larger ones of APPEND go to the disk as they arrive.
        spool_above: Size = Size(64 << 10), Reload, "\"1MiB\"";
        /// A session from which nothing was heard for so long is ended. RFC 9051 §5.4 asks for 30 minutes at least.
        idle_timeout: Duration = Duration::from_secs(30 * 60), Reload, "\"1h\"";
        /// While a client waits (IDLE), a line is sent so often, for the sake of firewalls that forget connections.
        idle_keepalive: Duration = Duration::from_secs(2 * 60), Reload, "\"5m\"";
        /// A connection that has not logged in is closed after this long.
        login_timeout: Duration = Duration::from_secs(60), Reload, "\"3m\"";
        /// Sessions of one account from one network (an IPv4 address, an IPv6 /64). A household with five clients needs a
        /// hundred.
        max_sessions: u32 = 200, Reload, "50";
        /// Capabilities that are neither shown nor served, for clients with trouble.
        hide_capabilities: Vec<String> = Vec::new(), Reload, "[\"QRESYNC\", \"COMPRESS=DEFLATE\"]";
    }
}

section! {
    /// IMAP over TLS from the first byte (port 993). Needs a certificate. All else is as in `[imap]`.
    Imaps {
        /// Addresses and ports, as in `imap.listen`. Sockets that systemd hands over under the name `imaps` are used instead.
        listen: Vec<SocketAddr> = everywhere(993), Restart, "[\"0.0.0.0:993\"]";
        /// Networks of proxies, as in `imap.proxy_from`. The header comes before TLS.
        proxy_from: Vec<Network> = Vec::new(), Restart, "[\"192.0.2.7\"]";
    }
}

section! {
    /// Dovecot's auth protocol, by which other programs share the logins: Postfix (`smtpd_sasl_type = dovecot`), Exim's
    /// `dovecot` authenticator, panels, `culver pam-exec`. Whoever may connect is trusted: on client sockets with what it says
    /// of its own clients, on master sockets with what it looks up.
    AuthSocket {
        /// Addresses and ports of client sockets by TCP, for an MTA in a container. Who can reach them can try passwords:
        /// loopback or a private network only.
        listen: Vec<SocketAddr> = Vec::new(), Restart, "[\"127.0.0.1:12345\"]";
        [[client]]: UnixSocket = Vec::new();
        [[master]]: UnixSocket = Vec::new();
    }
}

section! {
    /// Look-ups of domains and addresses, for MTAs: docs/postfix.md and docs/exim.md say how. Whoever can connect can ask which
    /// addresses there are.
    Lookup {
        /// Addresses and ports for Postfix's socketmap and Exim's `readsocket`. Sockets that systemd hands over under the name
        /// `lookup` are used instead.
        listen: Vec<SocketAddr> = Vec::new(), Restart, "[\"127.0.0.1:2501\"]";
        /// The same for Postfix's tcp_table, whose requests name no map: here all are for `domain`. By systemd: `lookup-domain`.
        tcp_domain: Vec<SocketAddr> = Vec::new(), Restart, "[\"127.0.0.1:2502\"]";
        /// Here all are for `mailbox`. By systemd: `lookup-mailbox`.
        tcp_mailbox: Vec<SocketAddr> = Vec::new(), Restart, "[\"127.0.0.1:2503\"]";
        /// Here all are for `virtual`. By systemd: `lookup-virtual`.
        tcp_virtual: Vec<SocketAddr> = Vec::new(), Restart, "[\"127.0.0.1:2504\"]";
        /// Here all are for `access`. By systemd: `lookup-access`.
        tcp_access: Vec<SocketAddr> = Vec::new(), Restart, "[\"127.0.0.1:2505\"]";
        [[unix]]: UnixSocket = Vec::new();
    }
}

section! {
    /// Postfix's `check_policy_service`: says at RCPT what delivery would say later (the account or route is disabled, the
    /// mailbox is full), and at submission that an account may not send.
    Policy {
        /// Addresses and ports. Sockets that systemd hands over under the name `policy` are used instead.
        listen: Vec<SocketAddr> = Vec::new(), Restart, "[\"127.0.0.1:2506\"]";
        [[unix]]: UnixSocket = Vec::new();
    }
}

section! {
    /// LMTP (RFC 2033), by which the MTA hands over mail. In the clear and without login, so it belongs on a unix socket or
    /// the loopback interface; never on port 25.
    Lmtp {
        /// Addresses and ports. Empty: none. Sockets that systemd hands over under the name `lmtp` are used instead of these and
        /// of the unix sockets.
        listen: Vec<SocketAddr> = Vec::new(), Restart, "[\"127.0.0.1:24\"]";
        /// Networks of proxies, as in `imap.proxy_from`.
        proxy_from: Vec<Network> = Vec::new(), Restart, "[\"192.0.2.7\"]";
        /// Networks whose peers may say for whom they speak (XCLIENT) and into which mailbox a message goes (XMAILBOX). Peers on
        /// unix sockets always may.
        trusted: Vec<Network> = Vec::new(), Reload, "[\"192.0.2.25\"]";
        /// The largest message that is taken, told to the MTA as SIZE. 0: no limit, since the MTA has its own.
        message_limit: Size = Size(0), Reload, "\"50MiB\"";
        /// Recipients of one message. An MTA sends the rest with another.
        max_recipients: u32 = 10_000, Reload, "1000";
        /// Messages up to this size are held in memory while they arrive, larger ones lie in `state_dir` until they are delivered.
        spool_above: Size = Size(256 << 10), Reload, "\"1MiB\"";
        /// A connection on which nothing happens for so long is closed. RFC 5321 §4.5.3.2 asks for 5 minutes at least.
        timeout: Duration = Duration::from_secs(5 * 60), Reload, "\"10m\"";
        [[unix]]: UnixSocket = Vec::new();
    }
}

choice! {
    /// Which messages get a Delivered-To field.
    DeliveredTo {
        /// Those with one recipient.
        "single" => Single,
        /// All.
        "always" => Always,
        /// None.
        "never" => Never,
    } default Single
}

choice! {
    /// What happens to mail for a full mailbox.
    OverQuota {
        /// It is tried again.
        "defer" => Defer,
        /// The sender hears of it.
        "reject" => Reject,
    } default Defer
}

section! {
    /// Delivery, by LMTP and by `culver deliver`.
    Deliver {
        /// Does mail for `anna+lists@example.org` go to the mailbox `lists`? Otherwise, and when there is no such mailbox, it goes
        /// to INBOX.
        detail_mailbox: bool = false, Reload, "true";
        /// Are mailboxes made that a detail, or `culver deliver -m`, names? With details, everybody who knows the address can then
        /// make mailboxes.
        create_mailboxes: bool = false, Reload, "true";
        /// And are they subscribed to?
        subscribe_mailboxes: bool = false, Reload, "true";
        /// A Delivered-To field holds the address for which a message was delivered. Messages to many are one file with many names
        /// (hard links) where they are the same, so `single` gives the field only to those that have one recipient, as Dovecot
        /// does. `always`: to all; then none is shared. `never`: to none.
        delivered_to: DeliveredTo = DeliveredTo::Single, Reload, "\"always\"";
        /// While a mailbox is full and its grace lasts: `defer` answers 452 4.2.2, so that the MTA tries again, `reject` 552 5.2.2,
        /// so that the sender hears of it at once.
        over_quota: OverQuota = OverQuota::Defer, Reload, "\"reject\"";
        /// Recipients of one message that are served at the same time.
        parallel: u32 = 16, Reload, "64";
        [forward]: Forward;
    }
}

choice! {
    /// How mail is handed to the MTA.
    ForwardMethod {
        /// By SMTP.
        "smtp" => Smtp,
        /// By a program.
        "sendmail" => Sendmail,
        /// Not at all.
        "off" => Off,
    } default Smtp
}

choice! {
    /// TLS to the MTA that takes forwarded mail.
    ForwardTls {
        /// None.
        "off" => Off,
        /// By STARTTLS.
        "starttls" => StartTls,
        /// From the first octet.
        "implicit" => Implicit,
    } default Off
}

section! {
    /// Forwarding: mail for addresses elsewhere is handed to the MTA, which has the queue.
    Forward {
        /// `smtp`: to the server of `relay`. `sendmail`: by starting a program for each message, which the sandbox does not allow a
        /// server to do: for machines where mail comes by `culver deliver` only, or with `sandbox = false`; with LMTP and the sandbox
        /// the server does not start. `off`: routes that lead elsewhere wait.
        method: ForwardMethod = ForwardMethod::Smtp, Reload, "\"off\"";
        /// The MTA's host and port. It must relay for this machine, or for `user`.
        relay: String = "127.0.0.1:25".to_owned(), Reload, "\"mail.example.org:25\"";
        /// TLS to it: `starttls` (port 25 or 587), without which nothing is sent, `implicit` (port 465), or `off`. Its certificate must be
        /// for the host of `relay`.
        tls: ForwardTls = ForwardTls::Off, Reload, "\"starttls\"";
        /// The authorities that its certificate must come from. Empty: those of the system.
        ca_file: PathBuf = PathBuf::new(), Reload, "\"/etc/ssl/mail-ca.pem\"";
        /// The name to log in there, by AUTH PLAIN or LOGIN. Empty: none.
        user: String = String::new(), Reload, "\"culver\"";
        /// And the password.
        password: String = String::new(), Reload, "\"secret\"";
        /// The program of the MTA.
        sendmail: PathBuf = PathBuf::from("/usr/sbin/sendmail"), Reload, "\"/usr/lib/sendmail\"";
        /// A message with more Received fields than this goes in circles and is not forwarded (RFC 5321 §6.3: at least 100).
        max_hops: u32 = 100, Reload, "150";
        /// Patience with the MTA at each step.
        timeout: Duration = Duration::from_secs(60), Reload, "\"5m\"";
        /// The domain of rewritten senders (SRS), for which the MTA must hand mail to Culver. Receivers that check SPF then find
        /// our servers right. Empty: senders stay as they are.
        srs_domain: String = String::new(), Reload, "\"srs.example.org\"";
        /// The secret of rewritten senders; `postsrsd` takes the same. Without it bounces find no way back.
        srs_secret: String = String::new(), Reload, "\"a long random text\"";
    }
}

choice! {
    /// When flags reach file names.
    FlagWrites {
        /// Soon.
        "lazy" => Lazy,
        /// Before the answer.
        "sync" => Sync,
    } default Lazy
}

section! {
    /// How the Maildir is written.
    Store {
        /// Flags are journaled before the client hears OK. With `lazy` the files are renamed within a second after that, with
        /// `sync` before: for machines where other programs read flags from file names at once.
        flag_writes: FlagWrites = FlagWrites::Lazy, Restart, "\"sync\"";
        /// Threads that read and write files. 0: four for each processor, between 8 and 64.
        io_threads: u32 = 0, Restart, "32";
    }
}

choice! {
    /// Who enables receiving again?
    Enabling {
        /// An administrator.
        "by-hand" => ByHand,
        /// It happens.
        "by-itself" => ByItself,
    } default ByHand
}

choice! {
    /// Is `maildirsize` written?
    Maildirsize {
        /// Where it is found.
        "existing" => Existing,
        /// For every account.
        "always" => Always,
        /// No.
        "never" => Never,
    } default Existing
}

section! {
    /// How much accounts may keep. These limits are for accounts of which neither their source nor `culver quota set` (for the
    /// account or its domain) says anything. Over quota nothing but storing is refused: docs/quota.md.
    Quota {
        /// Octets. Messages count with what their files hold. 0: no limit.
        storage: Size = Size(0), Reload, "\"2GiB\"";
        /// Messages. 0: no limit.
        messages: u32 = 0, Reload, "100000";
        /// Octets of one message. 0: no limit but that of the service which takes it.
        message_size: Size = Size(0), Reload, "\"50MiB\"";
        /// Mailboxes. 0: no limit.
        mailboxes: u32 = 0, Reload, "1000";
        /// Percentages at which the user is warned.
        warnings: Vec<u32> = vec![80, 90, 95], Reload, "[90]";
        /// A warning is given again once usage was so many percentage points below it.
        hysteresis: u32 = 5, Reload, "2";
        /// For so long mail that does not fit is deferred or refused (`deliver.over_quota`); then receiving is disabled.
        grace: Duration = Duration::from_secs(5 * 86_400), Reload, "\"14d\"";
        /// Who enables receiving again: `by-hand` (`culver quota enable`, `culver route enable`) or `by-itself`, once usage is below
        /// the limit.
        enabling: Enabling = Enabling::ByHand, Reload, "\"by-itself\"";
        /// The last message below the limit may go beyond it by so much, but never by more than a tenth of the limit.
        last_message: Size = Size(10 << 20), Reload, "\"0\"";
        /// The language of notices to users who have none of their own: `en`, `de` or `fr`.
        language: String = "en".to_owned(), Reload, "\"de\"";
        /// The sender of notices. Empty: postmaster of the account's domain.
        notice_from: String = String::new(), Restart, "\"helpdesk@example.org\"";
        /// A program that is started for each step, as the service user: `CULVER_ACCOUNT`, `CULVER_STEP`, `CULVER_PERCENT` and so on in
        /// its environment, all of it as JSON on standard input. The sandbox does not allow a server to start programs: with
        /// `sandbox = true` use `hook_url`. Empty: none.
        hook: PathBuf = PathBuf::new(), Restart, "\"/usr/local/sbin/quota-step\"";
        /// An address to which each step is posted as JSON. Empty: none.
        hook_url: String = String::new(), Restart, "\"http://127.0.0.1:8080/quota\"";
        /// Authorities (PEM) that sign its certificate, when it is one of HTTPS. Empty: those of the system.
        hook_ca_file: PathBuf = PathBuf::new(), Restart, "\"/etc/ssl/quota-ca.pem\"";
        /// A header that goes with it, such as `Authorization: Bearer ...`.
        hook_header: String = String::new(), Restart, "\"Authorization: Bearer secret\"";
        /// Program and address have so long for each step; then the log says so, and the next step is told.
        hook_timeout: Duration = Duration::from_secs(30), Restart, "\"5s\"";
        /// The file that Courier, maildrop and Dovecot's `quota = maildir` read: `existing` keeps it written where it is found, `always`
        /// makes one for every account, `never` leaves it to grow old.
        maildirsize: Maildirsize = Maildirsize::Existing, Restart, "\"always\"";
        /// All files of an account are counted so often, and a sum that was wrong is told and put right. 0s: never.
        cross_check: Duration = Duration::from_secs(86_400), Reload, "\"7d\"";
    }
}
