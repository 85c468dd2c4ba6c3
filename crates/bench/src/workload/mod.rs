//! What is measured: one row for each workload, one file for each kind of work.
//!
//! The rows of LMTP (and POP3) come behind those of IMAP, in files of their own.

mod change;
mod cold;
mod fetch;
mod huge;
mod idle;
mod lmtp;
mod pop3;
mod search;
mod session;

use crate::probe::Probe;
use crate::server::Server;
use anyhow::Result;

/// How large everything is; all follows from the messages of the mailbox that is read.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Messages in the mailbox that is read.
    pub messages: u32,
    /// Octets of the huge message.
    pub huge_append: u64,
    /// Octets of the huge message that is fetched.
    pub huge_fetch: u64,
    /// Accounts that are there for sessions that wait.
    pub accounts: u32,
}

impl Sizes {
    /// For a mailbox of so many messages; 20,000 makes the others as the table of targets has them.
    pub fn of(messages: u32) -> Sizes {
        // 1 GiB at 20,000.
        let huge = (u64::from(messages) << 30) / 20_000;
        Sizes { messages, huge_append: huge, huge_fetch: huge, accounts: (messages / 100).max(1) }
    }
    /// Messages of 30 KB.
    pub fn large(self) -> u32 {
        (self.messages / 10).max(1)
    }
    /// Messages of the mailbox that no index is there for.
    pub fn cold(self) -> u32 {
        self.messages * 5
    }
    /// Sessions that wait.
    pub fn sessions(self) -> u32 {
        (self.messages / 10).max(1)
    }
    /// A part of the mailbox that is read: `part` of 20,000.
    pub fn part(self, part: u32) -> u32 {
        u32::try_from(u64::from(self.messages) * u64::from(part) / 20_000).unwrap_or(u32::MAX).max(1)
    }
    /// The mailboxes in which growth is seen: 1,000, 10,000 and 100,000.
    pub fn growth(self) -> [u32; 3] {
        [self.part(1000), self.part(10_000), self.messages * 5]
    }
}

/// One run of a workload on one server.
#[derive(Debug)]
pub struct Run<'a> {
    /// The server.
    pub server: &'a Server,
    /// How large everything is.
    pub sizes: Sizes,
    /// What is measured.
    pub probe: Probe<'a>,
}

/// Which figure decides, per operation or as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decides {
    /// Microseconds of CPU time of the server for one operation.
    Cpu,
    /// Operations in a second.
    Rate,
    /// Milliseconds, the median of all commands.
    Latency,
    /// KiB of memory for one operation.
    MemoryEach,
    /// MiB of memory at the highest.
    MemoryPeak,
}

/// What Culver must reach (beside the peer of the same run).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// None is set.
    None,
    /// So many times better than the peer.
    Times(f64),
    /// No more than this, whatever the peer has.
    AtMost(f64),
}

/// What a server must have for a workload; without it the cells say `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A capability.
    Capability(&'static str),
    /// Its Maildir on this machine.
    Maildir,
    /// A Maildir and IDLE.
    MaildirAndIdle,
    /// Its process on this machine, and IDLE.
    ProcessAndIdle,
    /// Its process on this machine, and IMAP by TLS.
    ProcessAndTls,
    /// LMTP.
    Lmtp,
    /// POP3.
    Pop3,
    /// POP3, and its Maildir on this machine.
    Pop3AndMaildir,
}

impl Needs {
    /// What is missing, if something is.
    pub fn missing(self, server: &Server) -> Option<String> {
        let capability = |c: &str| (!server.can(c)).then(|| format!("no {c}"));
        let maildir = || server.maildir.is_none().then(|| "no --maildir".to_owned());
        match self {
            Needs::Nothing => None,
            Needs::Capability(c) => capability(c),
            Needs::Maildir => maildir(),
            Needs::Pop3 => server.pop3.is_none().then(|| "no --pop3".to_owned()),
            Needs::Pop3AndMaildir => server.pop3.is_none().then(|| "no --pop3".to_owned()).or_else(maildir),
            Needs::Lmtp => server.lmtp.is_none().then(|| "no --lmtp".to_owned()),
            Needs::MaildirAndIdle => maildir().or_else(|| capability("IDLE")),
            Needs::ProcessAndTls => server
                .meter
                .is_none()
                .then(|| "no --pid".to_owned())
                .or_else(|| server.imaps.is_none().then(|| "no --imaps".to_owned())),
            Needs::ProcessAndIdle => {
                server.meter.is_none().then(|| "no --pid".to_owned()).or_else(|| capability("IDLE"))
            }
        }
    }
}

/// Whether a workload runs once before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmUp {
    /// Once: the server has then what it keeps of the mailbox.
    Once,
    /// Never: the first time is what is measured, or each time is the same.
    Never,
}

/// One kind of work.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name on the command line and in the tables.
    pub name: &'static str,
    /// What an operation is.
    pub per: &'static str,
    /// Which figure decides.
    pub decides: Decides,
    /// What that figure must be.
    pub goal: Goal,
    /// What the server must have.
    pub needs: Needs,
    /// Whether it runs once before.
    pub warm_up: WarmUp,
    /// Does it once.
    pub run: fn(&mut Run<'_>) -> Result<()>,
}

impl Workload {
    /// Work that is measured by CPU time, on a mailbox that the server knows already.
    const fn warm(
        name: &'static str,
        per: &'static str,
        goal: Goal,
        run: fn(&mut Run<'_>) -> Result<()>,
    ) -> Workload {
        Workload { name, per, decides: Decides::Cpu, goal, needs: Needs::Nothing, warm_up: WarmUp::Once, run }
    }
    const fn needs(self, needs: Needs) -> Workload {
        Workload { needs, ..self }
    }
    const fn cold(self) -> Workload {
        Workload { warm_up: WarmUp::Never, ..self }
    }
    const fn decides(self, decides: Decides) -> Workload {
        Workload { decides, ..self }
    }
}

/// All of them, in the order of the tables.
pub const ALL: &[Workload] = &[
    Workload::warm("login", "login", Goal::Times(10.0), session::login),
    Workload::warm("select", "SELECT", Goal::Times(5.0), session::select),
    Workload::warm("fetch-flags", "message", Goal::Times(10.0), fetch::flags),
    Workload::warm("fetch-headers", "message", Goal::Times(8.0), fetch::headers),
    Workload::warm("fetch-overview", "message", Goal::Times(15.0), fetch::overview),
    Workload::warm("fetch-body", "message of 30 KB", Goal::Times(2.0), fetch::body),
    Workload::warm("search-header", "SEARCH SUBJECT", Goal::Times(15.0), search::header),
    Workload::warm("search-body", "SEARCH BODY", Goal::Times(8.0), search::body),
    Workload::warm("sort", "SORT (SUBJECT)", Goal::Times(8.0), search::sort).needs(Needs::Capability("SORT")),
    Workload::warm("thread", "THREAD REFERENCES", Goal::Times(8.0), search::thread)
        .needs(Needs::Capability("THREAD=REFERENCES")),
    Workload::warm("append", "message of 8 KB", Goal::Times(5.0), change::append),
    Workload::warm("append-16", "8 KB, 16 sessions", Goal::Times(2.0), change::append_16)
        .decides(Decides::Rate),
    Workload::warm("store", "message", Goal::Times(5.0), change::store),
    Workload::warm("store-single", "STORE", Goal::Times(5.0), change::store_single),
    Workload::warm("copy", "message", Goal::Times(2.0), change::copy),
    Workload::warm("move", "message", Goal::Times(2.0), change::move_).needs(Needs::Capability("MOVE")),
    Workload::warm("expunge", "message", Goal::None, change::expunge),
    Workload::warm("idle-memory", "session in IDLE", Goal::AtMost(10.0), idle::memory)
        .needs(Needs::ProcessAndIdle)
        .cold()
        .decides(Decides::MemoryEach),
    Workload::warm("idle-memory-tls", "session in IDLE by TLS", Goal::AtMost(25.0), idle::memory_by_tls)
        .needs(Needs::ProcessAndTls)
        .cold()
        .decides(Decides::MemoryEach),
    Workload::warm("crowd-memory", "session of 100 on 100,000 messages", Goal::None, idle::crowd)
        .needs(Needs::MaildirAndIdle)
        .cold()
        .decides(Decides::MemoryEach),
    Workload::warm("idle-latency", "file to 50 sessions", Goal::AtMost(5.0), idle::latency_file)
        .needs(Needs::MaildirAndIdle)
        .cold()
        .decides(Decides::Latency),
    Workload::warm("idle-latency-append", "APPEND to 50 sessions", Goal::AtMost(5.0), idle::latency_append)
        .needs(Needs::Capability("IDLE"))
        .cold()
        .decides(Decides::Latency),
    Workload::warm("cold-open", "message", Goal::Times(4.0), cold::open).needs(Needs::Maildir).cold(),
    Workload::warm("cold-overview", "message", Goal::Times(4.0), cold::overview).needs(Needs::Maildir).cold(),
    Workload::warm("pop3-login", "login", Goal::Times(10.0), pop3::login).needs(Needs::Pop3),
    Workload::warm("pop3-list", "login, STAT, UIDL, LIST", Goal::None, pop3::list)
        .needs(Needs::Pop3AndMaildir),
    Workload::warm("pop3-retr", "message of 30 KB", Goal::Times(3.0), pop3::retr)
        .needs(Needs::Pop3AndMaildir),
    Workload::warm("lmtp", "message of 8 KB", Goal::Times(5.0), lmtp::one).needs(Needs::Lmtp),
    Workload::warm("lmtp-16", "8 KB, 16 connections", Goal::Times(2.0), lmtp::sixteen)
        .needs(Needs::Lmtp)
        .decides(Decides::Rate),
    Workload::warm("lmtp-many", "recipient of 8 KB, 50 a message", Goal::Times(2.0), lmtp::many)
        .needs(Needs::Lmtp),
    Workload::warm("big-append", "message", Goal::None, huge::append).cold().decides(Decides::MemoryPeak),
    Workload::warm("big-fetch", "message", Goal::None, huge::fetch).cold().decides(Decides::MemoryPeak),
];

/// The mailbox that is read, full.
///
/// # Errors
/// As [`Server::keep`].
pub fn bench(run: &Run<'_>) -> Result<&'static str> {
    run.server.keep_filled("Bench", run.sizes.messages, crate::mail::small)?;
    Ok("Bench")
}
