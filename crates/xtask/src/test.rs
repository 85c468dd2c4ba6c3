//! `cargo xtask test`: set-up, then all tests, then counts.
//!
//! Tests which could not run say so in a line that begins with `not run`; those lines stand at the end, so that nobody
//! takes them for passed. The whole output lies in target/test.log.

use crate::{cargo, debian, target};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Instant;

#[derive(Default)]
struct Counts {
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
    not_run: BTreeSet<String>,
    /// What a test counted, in lines that begin with `counted: `.
    told: Vec<String>,
    broken: BTreeSet<String>,
}

/// The store's histories with faults: `TORTURE_HISTORIES` of them, 10,000 unless said.
pub fn torture() -> Result<()> {
    let histories = std::env::var("TORTURE_HISTORIES").unwrap_or_else(|_| "10000".to_owned());
    let mut test = cargo();
    test.args(["test", "--quiet", "--package", "culver-maildir", "--test", "torture", "--", "--nocapture"]);
    if !test.env("TORTURE_HISTORIES", &histories).status()?.success() {
        bail!("a history went wrong; the lines that begin with `again:` say how to run it alone");
    }
    println!("{histories} histories went well");
    Ok(())
}

/// Runs the tests; `args` go to cargo test.
pub fn run(args: &[String]) -> Result<()> {
    debian::ensure()?;
    let began = Instant::now();
    let mut test = cargo();
    test.arg("test").arg("--no-fail-fast");
    if !args.iter().any(|a| a == "-p" || a.starts_with("--package")) {
        test.arg("--workspace");
    }
    test.args(args);
    if !args.iter().any(|a| a == "--") {
        test.arg("--");
    }
    test.arg("--show-output").stdout(Stdio::piped());
    std::fs::create_dir_all(target())?;
    let path = target().join("test.log");
    let mut log = File::create(&path).with_context(|| path.display().to_string())?;
    let mut child = test.spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut counts = Counts::default();
    let mut passed_output = false;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(log, "{line}")?;
        // What passed tests printed is in the file; here it would bury the rest.
        if line == "successes:" {
            passed_output = true;
        } else if line == "failures:" || line.starts_with("test result:") {
            passed_output = false;
        }
        count(&line, &mut counts);
        if !passed_output {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("\n================ Culver's tests ================");
    println!("programs {}   passed {}   failed {}", counts.programs, counts.passed, counts.failed);
    println!("ignored {}   not run {}   minutes {minutes:.1}", counts.ignored, counts.not_run.len());
    for line in &counts.told {
        println!("{line}");
    }
    for line in &counts.not_run {
        println!("{line}");
    }
    for test in &counts.broken {
        println!("FAILED {test}");
    }
    println!("the whole output: {}", path.display());
    if !status.success() || counts.failed > 0 {
        bail!("tests failed");
    }
    println!("all tests passed: {}", counts.passed);
    Ok(())
}

fn count(line: &str, counts: &mut Counts) {
    if let Some(told) = line.strip_prefix("counted: ") {
        counts.told.push(told.to_owned());
    }
    if let Some(result) = line.strip_prefix("test result: ") {
        counts.programs += 1;
        let number = |word: &str| -> u32 {
            let before = result.split(word).next().unwrap_or_default();
            before.trim_end().rsplit([' ', '.']).next().and_then(|n| n.parse().ok()).unwrap_or(0)
        };
        counts.passed += number(" passed");
        counts.failed += number(" failed");
        counts.ignored += number(" ignored");
    } else if let Some(test) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED")) {
        counts.broken.insert(test.to_owned());
    } else if line.trim_start().starts_with("not run") {
        counts.not_run.insert(line.trim().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted() {
        let mut counts = Counts::default();
        for line in [
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.17s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.17s",
            "test a::b ... FAILED",
            "not run  clients: mbsync is missing",
        ] {
            count(line, &mut counts);
        }
        assert_eq!((counts.programs, counts.passed, counts.failed, counts.ignored), (2, 15, 2, 1));
        assert_eq!((counts.not_run.len(), counts.broken.len()), (1, 1));
    }
}
