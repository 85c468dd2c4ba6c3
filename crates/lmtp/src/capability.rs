//! The table of service extensions: what LHLO answers, and what the tests read.

/// When an extension is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// Always.
    Always,
    /// Where TLS can still be started.
    BeforeTls,
    /// To peers that are trusted.
    Trusted,
}

/// A row of [`CAPABILITIES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// Its keyword, and parameters that never change.
    pub line: &'static str,
    /// The RFC that defines it; 0: a vendor's.
    pub rfc: u16,
    /// When it is shown.
    pub show: Show,
    /// The transcript that proves it.
    pub proof: &'static str,
}

const fn row(line: &'static str, rfc: u16, show: Show, proof: &'static str) -> Capability {
    Capability { line, rfc, show, proof }
}

/// Everything that may be shown, in the order in which it is. SIZE gets the limit behind it.
///
/// DSN is not among them. Whoever offers it is given NOTIFY=SUCCESS by the MTA and then owes the sender a `delivered` notice
/// for each recipient that is put into its mailbox (RFC 3461 §5.2.3, §6), and for a message that goes on, `relayed` or the
/// parameters handed on (§5.2.1, §5.2.2). Where it is not offered, the MTA says `relayed` itself when our 250 has come (§5.2.2), and has
/// the queue and the sender's address for it. Failures are its affair either way (RFC 2033 §4.2). So a success is
/// told once, by the MTA, and never by mail that we would have to queue. Dovecot 2.3 does the same. The parameters are taken all the
/// same, for MTAs that send them unasked.
pub const CAPABILITIES: &[Capability] = &[
    row("PIPELINING", 2920, Show::Always, "pipelining"),
    row("ENHANCEDSTATUSCODES", 2034, Show::Always, "lhlo"),
    row("8BITMIME", 6152, Show::Always, "eightbitmime"),
    row("SIZE", 1870, Show::Always, "size"),
    row("CHUNKING", 3030, Show::Always, "chunking"),
    row("BINARYMIME", 3030, Show::Always, "binarymime"),
    row("SMTPUTF8", 6531, Show::Always, "smtputf8"),
    row("STARTTLS", 3207, Show::BeforeTls, "starttls"),
    row(
        "XCLIENT ADDR PORT NAME PROTO HELO LOGIN SESSION DESTADDR DESTPORT TTL TIMEOUT",
        0,
        Show::Trusted,
        "xclient",
    ),
    row("XMAILBOX", 0, Show::Trusted, "xmailbox"),
];

/// Whom the list is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Circumstances {
    /// Can TLS be started?
    pub starttls: bool,
    /// May the peer say who it speaks for?
    pub trusted: bool,
    /// The largest message, in octets; `None` for no limit.
    pub size: Option<u64>,
}

/// The lines of the answer to LHLO, behind the first.
pub fn lines(c: Circumstances) -> impl Iterator<Item = String> {
    let shown = move |row: &&Capability| match row.show {
        Show::Always => true,
        Show::BeforeTls => c.starttls,
        Show::Trusted => c.trusted,
    };
    CAPABILITIES.iter().filter(shown).map(move |row| match (row.line, c.size) {
        ("SIZE", Some(limit)) => format!("SIZE {limit}"),
        (line, _) => line.to_owned(),
    })
}
