//! The project's own tool: tests with their set-up, lint, fuzzing, generated documentation. `cargo xtask help`.
//!
//! Knows only pure crates of the house, so that it builds in seconds and can install what the others need.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a tool of the developers"
)]

mod bench;
mod debian;
mod docs;
mod fuzz;
mod lint;
mod rfcs;
mod test;
#[cfg(test)]
mod tidy;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask test [ARGS]     everything; ARGS go to cargo test (`-p culver-imap`, `--test clients`, ...)
cargo xtask lint            formatting, clippy, the laws of clippy.toml, licences
cargo xtask bench [ARGS]    Culver beside Dovecot
cargo xtask torture         10,000 (TORTURE_HISTORIES) histories of the store with faults and power losses
cargo xtask fuzz [TARGET]   all fuzz targets, or one, for FUZZ_SECONDS (60) each
cargo xtask debian          installs what the tests want of Debian's packages
cargo xtask docs            prints docs/reference/, dist/culver.toml and the generated part of README.md
cargo xtask release VERSION folds changes/ into CHANGELOG.md
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Without the backtrace of anyhow's Debug: what to install must not drown.
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    match args.first().map(String::as_str) {
        Some("test") => test::run(rest),
        Some("lint") => lint::run(),
        Some("bench") => bench::run(rest),
        Some("torture") => test::torture(),
        Some("fuzz") => fuzz::run(rest),
        Some("debian") => debian::ensure(),
        Some("docs") => docs::write(),
        Some("release") => docs::release(rest.first().context("which version?")?),
        Some("help") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => bail!("there is no `{other}`\n{HELP}"),
    }
}

/// The root of the checkout.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command and fails with its words.
fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(())
}
