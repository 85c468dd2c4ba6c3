//! `cargo xtask fuzz`: every target for a while.

use crate::{root, succeed};
use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// `args`: names of targets; all when empty.
pub fn run(args: &[String]) -> Result<()> {
    let seconds: u32 = match std::env::var("FUZZ_SECONDS") {
        Ok(text) => text.parse().context("FUZZ_SECONDS is no number")?,
        Err(_) => 60,
    };
    let silent = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|s| s.success())
    };
    if !silent("rustup", &["run", "nightly", "rustc", "--version"]) {
        succeed(Command::new("rustup").args(["toolchain", "install", "nightly", "--profile", "minimal"]))?;
    }
    if !silent("cargo", &["fuzz", "--version"]) {
        succeed(Command::new("cargo").args(["install", "cargo-fuzz", "--locked"]))?;
    }
    let targets: Vec<_> = targets()?.into_iter().filter(|t| args.is_empty() || args.contains(t)).collect();
    let mut findings = Vec::new();
    for target in &targets {
        println!("fuzzing {target} for {seconds} s");
        let mut fuzz = Command::new("cargo");
        fuzz.args(["+nightly", "fuzz", "run", target, "--"]);
        fuzz.arg(format!("-max_total_time={seconds}")).args([
            "-max_len=65536",
            "-timeout=10",
            "-rss_limit_mb=2048",
        ]);
        if !fuzz.current_dir(root()).env_remove("CARGO").status()?.success() {
            findings.push(target.clone());
        }
    }
    println!("fuzzed {} targets, {seconds} s each; findings: {}", targets.len(), findings.len());
    if !findings.is_empty() {
        bail!("found something in {}; see fuzz/artifacts/", findings.join(", "));
    }
    Ok(())
}

/// The names of fuzz/fuzz_targets/*.rs.
pub fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("fuzz/fuzz_targets")).context("fuzz/fuzz_targets")? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            names.extend(path.file_stem().map(|s| s.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
