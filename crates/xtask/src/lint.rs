//! `cargo xtask lint`: formatting, clippy, the laws of clippy.toml, licences.

use crate::{cargo, root, succeed};
use anyhow::Result;
use std::process::{Command, Stdio};

/// Runs all; the first that finds something ends it.
pub fn run() -> Result<()> {
    succeed(cargo().args(["fmt", "--all", "--check"]))?;
    succeed(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // What is shipped keeps the laws; tests may open files.
    succeed(cargo().args([
        "clippy",
        "--workspace",
        "--lib",
        "--bins",
        "--exclude",
        "culver-testkit",
        "--exclude",
        "culver-bench",
        "--",
        "-D",
        "warnings",
        "-D",
        "clippy::disallowed_methods",
    ]))?;
    let mut deny = Command::new("cargo-deny");
    if deny.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        println!("not run: cargo-deny is missing (cargo install cargo-deny --locked)");
        return Ok(());
    }
    succeed(Command::new("cargo-deny").args(["check", "bans", "licenses", "sources"]).current_dir(root()))
}
