//! `culver-bench compare`: Culver beside Debian's Dovecot, both started here on mail of their own, and BENCHMARKS.md.

use crate::limits::Inotify;
use crate::meter::Meter;
use crate::server::{Login, Server};
use crate::session::{self, Plan};
use anyhow::{Context, Result};
use culver_testkit::peer::{Culver, CulverOptions, Dovecot, Peer, TUNED, TUNED_LMTP};
use std::path::Path;
use std::process::Command;

/// Starts both and measures; gives back the page.
///
/// # Errors
/// When one does not start, or a Maildir cannot be written.
pub fn run(program: &Path, plan: &Plan, command: &str) -> Result<String> {
    if let Some(why) = Dovecot::missing() {
        anyhow::bail!("the peer is missing: {why}");
    }
    let inotify = Inotify::raise();
    // What is declared first goes last: the servers end before their control groups are taken away.
    let mut servers = Vec::new();
    let culver =
        Culver::start(program, CulverOptions { users: plan.sizes.accounts, ..CulverOptions::default() })?;
    let (speaks_lmtp, lmtp) = Dovecot::with_lmtp()?;
    let dovecot = Dovecot::start_with(&format!("{TUNED}{speaks_lmtp}{TUNED_LMTP}"))?;
    for (peer, pid, lmtp) in
        [(&culver as &dyn Peer, culver.pid(), culver.lmtp()), (&dovecot as &dyn Peer, dovecot.pid(), lmtp)]
    {
        let first = peer.fresh_account();
        std::fs::create_dir_all(&first.maildir)?;
        peer.own(first.maildir.parent().context("a Maildir has a parent")?)?;
        let login = Login { user: first.user.replace("0001", "{n}"), password: first.password };
        let meter = Meter::of_ours(pid);
        let mut server =
            Server::new(peer.name().to_owned(), peer.imap(), login, Some(meter), Some(&first.maildir))
                .with_context(|| format!("the log of {}:\n{}", peer.name(), peer.log()))?;
        server.lmtp = Some(lmtp);
        server.imaps = peer.imaps();
        server.pop3 = peer.pop3();
        servers.push(server);
    }
    let tables = session::run(&servers, plan)?;
    let source = servers.first().and_then(|s| s.meter.as_ref()).map_or("", Meter::source);
    Ok(page(&tables, plan, program, command, source, &inotify.said()))
}

fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

/// BENCHMARKS.md: what was measured, where, and how to measure again.
fn page(tables: &str, plan: &Plan, program: &Path, command: &str, source: &str, limits: &str) -> String {
    let file = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = file("/proc/cpuinfo");
    let mut models =
        cpus.lines().filter_map(|l| l.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m));
    let model = models.next().unwrap_or("unknown").trim().to_owned();
    let count = 1 + models.count();
    format!(
        "# Culver beside Dovecot\n\n\
         Printed by `{command}` (`ARGS=\"--rounds N\"` for more rounds than 3). Both servers run on one machine in turns, {} rounds of each workload, and the median \
         counts. The mailbox that is read holds {} messages. Unless a workload's name says otherwise both have seen \
         it before. Machines are noisy, so what decides is the CPU time of the server for one operation ({}), \
         as a ratio within one run: above 1 Culver needs less. Dovecot is set up as someone would who knows it \
         (`TUNED` in crates/testkit/src/peer.rs): its sleeping sessions share one process, which \
         idle-memory shows as nothing.{}\n\n\
         {count} x {model}; Linux {}; {}; Dovecot {}.\n\n{tables}",
        plan.rounds,
        plan.sizes.messages,
        source,
        limits,
        file("/proc/sys/kernel/osrelease").trim(),
        version(program),
        version(Path::new("/usr/sbin/dovecot")),
    )
}
