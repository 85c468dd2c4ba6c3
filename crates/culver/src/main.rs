//! The program: reads arguments, puts the parts together, and says what went wrong in words that help.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]

mod config_command;
mod demo;
mod doors;
mod migrate;
mod parts;
mod passwd;
mod sandbox;
mod serve;
mod server;
mod state_lock;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

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
    /// Take mail over from Dovecot or Courier, in place, ahead of the first login. Or compare with the old server (--verify).
    Adopt(migrate::adopt::Arguments),
    /// Prepare the way back to Dovecot.
    Release(migrate::release::Arguments),
    /// Accounts of the built-in directory.
    User(WithConfig<culver_admin::UserCommand>),
    /// What the running server remembers of logins.
    Auth(WithConfig<AuthCommand>),
    /// Domains of the built-in directory.
    Domain(WithConfig<culver_admin::DomainCommand>),
    /// Quotas: limits, usage, and who is over.
    Quota(WithConfig<culver_admin::QuotaCommand>),
    /// Mailbox Routes: where mail for an address goes.
    Route(WithConfig<culver_admin::RouteCommand>),
}

/// `culver auth`.
#[derive(Subcommand)]
enum AuthCommand {
    /// Who guessed too much and is not looked at for a while.
    #[command(subcommand)]
    Blocks(culver_admin::BlocksCommand),
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
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("culver: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Config(arguments) => config_command::run(&arguments),
        Command::Adopt(arguments) => migrate::adopt::run(&arguments),
        Command::Release(arguments) => migrate::release::run(&arguments),
        Command::User(with) => {
            let directory = with.directory()?;
            println!("{}", culver_admin::run_user(&with.command, &directory)?);
            Ok(())
        }
        Command::Auth(with) => {
            let settings = config_command::read(&with.config)?.settings;
            let AuthCommand::Blocks(command) = &with.command;
            println!("{}", culver_admin::run_blocks(command, &settings.state_dir)?);
            Ok(())
        }
        Command::Quota(with) => quota(&with),
        Command::Route(with) => {
            let settings = config_command::read(&with.config)?.settings;
            let builtin = parts::builtin_directory(&settings)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let directory = {
                let _entered = runtime.enter();
                parts::directory(&settings)?
            };
            let done = runtime.block_on(culver_admin::run_route(&with.command, &builtin, &directory));
            println!("{}", done?);
            Ok(())
        }
        Command::Domain(with) => {
            let directory = with.directory()?;
            println!("{}", culver_admin::run_domain(&with.command, &directory)?);
            Ok(())
        }
    }
}

/// Asks the running server; without one, does it here.
fn quota(with: &WithConfig<culver_admin::QuotaCommand>) -> Result<()> {
    use culver_store::Store as _;
    let settings = config_command::read(&with.config)?.settings;
    let (verb, arguments) = with.command.request()?;
    let answer = if culver_admin::control::answers(&settings.state_dir) {
        culver_admin::control::ask(&settings.state_dir, verb, arguments)?
    } else {
        let _alone = state_lock::StateLock::alone(&settings.state_dir)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let directory = parts::directory(&settings)?;
            let store = std::sync::Arc::new(parts::store(&settings)?);
            let events = parts::events(&settings)?;
            let keeper = parts::keeper(&settings, directory.clone(), store.clone(), events)?;
            let verbs = culver_admin::quota::QuotaVerbs { keeper: keeper.clone(), directory };
            let answer = verbs.answer(verb, &arguments.into()).await.map_err(anyhow::Error::msg);
            keeper.tick().await;
            store.close().await;
            answer
        })?
    };
    println!("{}", with.command.shown(&answer));
    Ok(())
}
