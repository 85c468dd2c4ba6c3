//! What tests need from Debian: another server and real clients.

use crate::succeed;
use anyhow::{Result, bail};
use std::process::{Command, Stdio};

/// What tests start beside Culver, and why.
pub const PACKAGES: &[(&str, &str)] = &[
    ("dovecot-imapd", "the server that Culver's answers are compared with"),
    ("isync", "mbsync, a client"),
    ("offlineimap3", "a client"),
    ("neomutt", "a client"),
    ("curl", "a client"),
    ("python3", "imaplib, a client"),
    ("python3-venv", "for IMAPClient, a client that Debian does not have: the test gets it from PyPI"),
    ("postgresql", "a database with accounts"),
    ("mariadb-server", "a database with accounts"),
    ("slapd", "a directory server with accounts"),
    ("ldap-utils", "fills it"),
    ("e2fsprogs", "a full ext4, in a file"),
    ("btrfs-progs", "a full quota group of btrfs, in a file"),
    ("xz-utils", "unpacks the corpus"),
];

/// Installs what is missing when that is allowed (as root), and otherwise says exactly what to install.
pub fn ensure() -> Result<()> {
    let missing: Vec<&str> = PACKAGES.iter().map(|(name, _)| *name).filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0");
    let apt = Command::new("apt-get").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !root || !apt {
        let reasons: String = PACKAGES
            .iter()
            .filter(|(n, _)| missing.contains(n))
            .map(|(n, why)| format!("  {n}: {why}\n"))
            .collect();
        bail!(
            "these packages are missing:\n{reasons}Install them: sudo apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
    }
    println!("installing {}", missing.join(" "));
    apt_get(&["update", "-q"])?;
    apt_get(&[&["install", "-y", "-q", "--no-install-recommends"][..], &missing[..]].concat())?;
    if missing.contains(&"dovecot-imapd") {
        // Tests start their own; the package's service would hold ports 143 and 993.
        let mut stop = Command::new("systemctl");
        let _ =
            stop.args(["disable", "--now", "dovecot"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
    Ok(())
}

fn apt_get(args: &[&str]) -> Result<()> {
    succeed(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Status}", package]).stderr(Stdio::null());
    query.output().is_ok_and(|o| o.stdout.ends_with(b"ok installed"))
}
