//! `cargo xtask bench`: builds what is measured as it is shipped, and measures.

use crate::{cargo, debian, succeed, target};
use anyhow::Result;

/// `args` as `culver-bench compare` has them behind the program: workloads, `--messages N`, ...; all when empty.
pub fn run(args: &[String]) -> Result<()> {
    debian::ensure()?;
    succeed(cargo().args(["build", "--release", "--package", "culver", "--package", "culver-bench"]))?;
    let release = target().join("release");
    let mut bench = std::process::Command::new(release.join("culver-bench"));
    succeed(bench.arg("compare").arg(release.join("culver")).args(args).current_dir(crate::root()))
}
