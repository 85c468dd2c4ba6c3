//! The program: reads arguments, puts the parts together, and says what went wrong in words that help.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]

mod config_command;
mod delivery;
mod demo;
mod doors;
mod hook;
mod lda;
mod login;
mod migrate;
mod parts;
mod passwd;
mod quota;
mod quota_texts;
mod sandbox;
mod serve;
mod server;
mod sources;
mod state_lock;
mod system;

use anyhow::Result;
use clap::{Parser, Subcommand};
use culver_admin::UserCommand;
use culver_config::Settings;
use culver_directory::Directory;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Gives pages back after bursts, which glibc's does not: a server lives for months.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A mail server for Maildirs.
#[derive(Parser)]
#[command(name = "culver", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve mail. SIGHUP reloads settings and certificates, SIGTERM says goodbye to all sessions and ends.
    Serve(serve::Arguments),
    /// Serve a demo account on ports of this machine's loopback, to try things.
    Demo(demo::Arguments),
    /// Check and show the configuration.
    Config(config_command::Arguments),
    /// Deliver a message from standard input, for .forward, Postfix's mailbox_command, maildrop, fetchmail: dovecot-lda's options
    /// and exit codes.
    Deliver(lda::Arguments),
    /// Take mail over from Dovecot or Courier, in place, ahead of the first login. Or compare with the old server (--verify).
    Adopt(migrate::adopt::Arguments),
    /// Prepare the way back to Dovecot.
    Release(migrate::release::Arguments),
    /// Accounts of the built-in directory.
    User(WithConfig<UserCommand>),
    /// Domains of the built-in directory.
    Domain(WithConfig<culver_admin::DomainCommand>),
    /// Quotas: limits, usage, and who is over.
    Quota(WithConfig<culver_admin::QuotaCommand>),
    /// Try logins, look accounts up, and what the running server remembers of failures.
    Auth(login::auth_command::Arguments),
    /// Check a password by DJB's interface (descriptor 3), and run a program as the account.
    Checkpassword(login::checkpassword::Arguments),
    /// Check a login for PAM; to be run by pam_exec.so with expose_authtok.
    PamExec(login::pam_exec::Arguments),
    /// The process that asks PAM and NSS for the server (source = "system").
    PamHelper(culver_helper::Arguments),
    /// Mailbox Routes: where mail for an address goes.
    Route(WithConfig<culver_admin::RouteCommand>),
}

/// A command that needs the configuration.
#[derive(clap::Args)]
struct WithConfig<C: Subcommand> {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    #[command(subcommand)]
    command: C,
}

impl<C: Subcommand> WithConfig<C> {
    fn directory(&self) -> Result<culver_directory::builtin::Builtin> {
        parts::builtin_directory(&config_command::read(&self.config)?.settings)
    }
}

/// Where the configuration lies unless told otherwise.
const DEFAULT_CONFIG: &str = "/etc/culver/culver.toml";

fn main() -> ExitCode {
    let command = match Arguments::try_parse() {
        Ok(arguments) => arguments.command,
        Err(e) => {
            let _ = e.print();
            // MTAs know this one as a mistake of ours.
            let deliver = std::env::args_os().nth(1).is_some_and(|verb| verb == "deliver");
            return match (e.use_stderr(), deliver) {
                (false, _) => ExitCode::SUCCESS,
                (true, true) => ExitCode::from(lda::sysexits::USAGE),
                (true, false) => ExitCode::from(2),
            };
        }
    };
    if let Command::Deliver(arguments) = &command {
        return lda::run(arguments);
    }
    match run(command) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("culver: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// All sources of accounts, for a command, and what they run on.
fn all_sources(settings: &Settings) -> Result<(Runtime, Arc<Directory>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let directory = {
        let _entered = runtime.enter();
        parts::directory(settings)?
    };
    Ok((runtime, directory))
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        // These have exit codes of their own.
        Command::Auth(arguments) => return login::auth_command::run(&arguments),
        Command::Checkpassword(arguments) => return Ok(login::checkpassword::run(&arguments)),
        Command::PamExec(arguments) => return Ok(login::pam_exec::run(&arguments)),
        // Its exit codes are its own.
        Command::Deliver(_) => {}
        Command::PamHelper(arguments) => culver_helper::run(&arguments)?,
        Command::Serve(arguments) => serve::run(&arguments)?,
        Command::Demo(arguments) => demo::run(&arguments)?,
        Command::Config(arguments) => config_command::run(&arguments)?,
        Command::Adopt(arguments) => migrate::adopt::run(&arguments)?,
        Command::Release(arguments) => migrate::release::run(&arguments)?,
        Command::User(with) => {
            if let UserCommand::List { domain, all: true, json } = &with.command {
                let (runtime, directory) = all_sources(&config_command::read(&with.config)?.settings)?;
                let listed = culver_admin::list_all_users(domain.as_deref(), *json, &directory);
                let (text, whole) = runtime.block_on(listed);
                println!("{text}");
                whole?;
                return Ok(ExitCode::SUCCESS);
            }
            let directory = with.directory()?;
            println!("{}", culver_admin::run_user(&with.command, &directory)?);
        }
        Command::Quota(with) => quota::run(&with)?,
        Command::Route(with) => {
            let settings = config_command::read(&with.config)?.settings;
            let builtin = parts::builtin_directory(&settings)?;
            let (runtime, directory) = all_sources(&settings)?;
            let done = runtime.block_on(culver_admin::run_route(&with.command, &builtin, &directory));
            println!("{}", done?);
        }
        Command::Domain(with) => {
            let directory = with.directory()?;
            println!("{}", culver_admin::run_domain(&with.command, &directory)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
