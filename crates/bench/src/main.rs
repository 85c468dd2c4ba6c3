//! `culver-bench`: makes mail, drives any IMAP server, and says what it costs.
//!
//! - `fill` writes a Maildir.
//! - `run` measures servers that run already, by their addresses; several are measured in turns. CPU time and memory need
//!   the server's process on this machine, some workloads its Maildir.
//! - `compare` starts Culver and Debian's Dovecot and writes BENCHMARKS.md.
//! - `list` names the workloads.

mod cgroup;
mod compare;
mod driver;
mod floor;
mod growth;
mod limits;
mod mail;
mod maildir;
mod measure;
mod meter;
mod probe;
mod procs;
mod report;
mod server;
mod session;
mod workload;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use server::{Login, Server};
use session::Plan;
use std::io::Write as _;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use workload::Sizes;

/// What one mailbox holds unless told otherwise.
const MESSAGES: u32 = 20_000;
const ROUNDS: usize = 3;

#[derive(Parser)]
#[command(name = "culver-bench", about = "Makes mail, drives any IMAP server, and says what it costs")]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Write a Maildir, always the same
    Fill {
        /// The Maildir
        dir: PathBuf,
        /// How many messages
        #[arg(long, value_name = "N", default_value_t = MESSAGES)]
        messages: u32,
        /// Octets of each body; 200 to 2,600 unless told otherwise
        #[arg(long, value_name = "OCTETS")]
        size: Option<usize>,
        /// Which mailbox of it
        #[arg(long, default_value = "INBOX")]
        mailbox: String,
    },
    /// Measure servers that run already
    Run(Box<RunArgs>),
    /// Start Culver and Dovecot and measure both; writes BENCHMARKS.md when everything is measured
    Compare {
        /// The program culver
        program: PathBuf,
        #[command(flatten)]
        plan: PlanArgs,
        /// Where the page goes, also when only a part is measured
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Name the workloads
    List,
}

#[derive(Args)]
struct PlanArgs {
    /// Which workloads; all unless told. `culver-bench list` names them
    workloads: Vec<String>,
    /// Messages of the mailbox that is read; everything else grows and shrinks with it
    #[arg(long, value_name = "N", default_value_t = MESSAGES)]
    messages: u32,
    /// How often each workload runs on each server
    #[arg(long, value_name = "N", default_value_t = ROUNDS)]
    rounds: usize,
}

impl PlanArgs {
    fn plan(self) -> Result<Plan> {
        anyhow::ensure!(self.messages >= 20 && self.rounds > 0, "at least 20 messages and one round");
        let plan = Plan { only: self.workloads, sizes: Sizes::of(self.messages), rounds: self.rounds };
        plan.check()?;
        Ok(plan)
    }
}

#[derive(Args)]
struct RunArgs {
    /// A server's IMAP address in plain text; several are measured in turns, and the first is judged by the second.
    /// The other options that may be repeated belong to the server at the same place; given once, to all
    #[arg(long = "server", value_name = "NAME=HOST:PORT", required = true)]
    servers: Vec<String>,
    /// Where it speaks IMAP by TLS
    #[arg(long = "imaps", value_name = "HOST:PORT")]
    imaps: Vec<String>,
    /// Its LMTP address, for what is delivered to it
    #[arg(long = "lmtp", value_name = "HOST:PORT")]
    lmtp: Vec<String>,
    /// Where it speaks POP3 in plain text
    #[arg(long = "pop3", value_name = "HOST:PORT")]
    pop3: Vec<String>,
    /// Its main process on this machine: for CPU time and memory
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
    /// Who logs in; the letter n in braces stands for the number of the account in four digits, from 0001
    #[arg(long = "user", value_name = "USER", required = true)]
    users: Vec<String>,
    /// The password of all accounts
    #[arg(long = "password", value_name = "PASSWORD", required = true)]
    passwords: Vec<String>,
    /// The Maildir of the first account on this machine, to be filled and delivered into
    #[arg(long = "maildir", value_name = "DIR")]
    maildirs: Vec<PathBuf>,
    /// How many accounts that number may name
    #[arg(long, value_name = "N", default_value_t = 1)]
    accounts: u32,
    #[command(flatten)]
    plan: PlanArgs,
}

/// The value for the server at place `i`: a value given once holds for all.
fn at<T>(values: &[T], i: usize) -> Option<&T> {
    match values {
        [one] => Some(one),
        many => many.get(i),
    }
}

fn main() -> Result<()> {
    limits::raise_files();
    match Cli::parse().command {
        Subcommands::Fill { dir, messages, size, mailbox } => {
            maildir::Maildir::at(&dir)?
                .fill(&mailbox, messages, |seed| size.unwrap_or_else(|| mail::small(seed)))
        }
        Subcommands::Run(args) => run(*args),
        Subcommands::Compare { program, plan, output } => compare(&program, plan.plan()?, output),
        Subcommands::List => {
            let mut out = std::io::stdout();
            for workload in workload::ALL {
                writeln!(out, "{:20} {}", workload.name, workload.per)?;
            }
            writeln!(out, "{:20} how the costs grow with the mailbox", session::GROWTH)
                .context("standard output")
        }
    }
}

fn run(args: RunArgs) -> Result<()> {
    let mut plan = args.plan.plan()?;
    plan.sizes.accounts = args.accounts.max(1);
    let mut servers = Vec::new();
    for (i, server) in args.servers.iter().enumerate() {
        let (name, address) = server.split_once('=').context("--server NAME=HOST:PORT")?;
        let address = address.to_socket_addrs().with_context(|| address.to_owned())?.next();
        let login = Login {
            user: at(&args.users, i).context("--user")?.clone(),
            password: at(&args.passwords, i).context("--password")?.clone(),
        };
        // Unlike names, a process or a Maildir belongs to one server only.
        let meter = args.pids.get(i).copied().map(meter::Meter::of);
        let maildir = args.maildirs.get(i).map(PathBuf::as_path);
        let address = address.context("an address")?;
        let mut server = Server::new(name.to_owned(), address, login, meter, maildir)?;
        if let Some(imaps) = args.imaps.get(i) {
            server.imaps = imaps.to_socket_addrs().with_context(|| imaps.to_owned())?.next();
        }
        if let Some(lmtp) = args.lmtp.get(i) {
            server.lmtp = lmtp.to_socket_addrs().with_context(|| lmtp.to_owned())?.next();
        }
        if let Some(pop3) = args.pop3.get(i) {
            server.pop3 = pop3.to_socket_addrs().with_context(|| pop3.to_owned())?.next();
        }
        servers.push(server);
    }
    let tables = session::run(&servers, &plan)?;
    std::io::stdout().write_all(tables.as_bytes()).context("standard output")
}

fn compare(program: &Path, plan: Plan, output: Option<PathBuf>) -> Result<()> {
    let whole = plan.only.is_empty() && plan.sizes.messages == MESSAGES && plan.rounds >= ROUNDS;
    let command = match whole {
        true => "make bench".to_owned(),
        false => {
            let mut words = vec!["make bench ARGS=\"--messages".to_owned(), plan.sizes.messages.to_string()];
            words.extend(["--rounds".to_owned(), plan.rounds.to_string()]);
            words.extend(plan.only.iter().cloned());
            words.join(" ") + "\""
        }
    };
    let page = compare::run(program, &plan, &command)?;
    std::io::stdout().write_all(page.as_bytes())?;
    match output.or_else(|| whole.then(|| PathBuf::from("BENCHMARKS.md"))) {
        Some(path) => std::fs::write(&path, page).with_context(|| path.display().to_string()),
        None => Ok(()),
    }
}
