//! What tests need from Debian: another server and real clients.

use crate::{succeed, target};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What tests start beside Culver, and why.
pub const PACKAGES: &[(&str, &str)] = &[
    ("dovecot-imapd", "the server that Culver's answers are compared with"),
    ("dovecot-pop3d", "its POP3, compared with ours"),
    ("dovecot-lmtpd", "its LMTP, compared with ours"),
    ("isync", "mbsync, a client"),
    ("offlineimap3", "a client"),
    ("neomutt", "a client"),
    ("curl", "a client"),
    ("fetchmail", "a client of POP3, and a caller of the delivery program"),
    ("maildrop", "an MDA that hands on to the delivery program"),
    ("getmail6", "a client of POP3"),
    ("mpop", "a client of POP3"),
    ("gsasl", "a client that speaks the mechanisms of SASL"),
    ("python3", "imaplib, a client"),
    ("python3-jwt", "signs tokens"),
    ("python3-cryptography", "the keys of these"),
    ("openssl", "TLS of a provider of tokens"),
    ("python3-venv", "for IMAPClient, a client that Debian does not have: the test gets it from PyPI"),
    ("postgresql", "a database with accounts"),
    ("mariadb-server", "a database with accounts"),
    ("slapd", "a directory server with accounts"),
    ("ldap-utils", "fills and asks it"),
    ("e2fsprogs", "a full ext4, in a file"),
    ("btrfs-progs", "a full quota group of btrfs, in a file"),
    ("xz-utils", "unpacks the corpus"),
    ("postfix", "an MTA that asks ours and delivers to it"),
    ("swaks", "sends mail to MTAs"),
    ("proftpd-core", "an FTP server that asks PAM, and PAM us"),
    ("pamtester", "asks PAM, and PAM us"),
    ("openssh-server", "an SSH server that asks PAM, and PAM us"),
    ("libpam-wrapper", "PAM modules made for tests"),
    ("libnss-wrapper", "users of the machine from a file"),
];

/// The package that is only unpacked, since Debian has one MTA installed at a time, and the user as which it runs.
const EXIM: &str = "exim4-daemon-heavy";
const EXIM_USER: &str = "Debian-exim";

fn exim_dir() -> PathBuf {
    target().join("debian").join(EXIM)
}

fn exim_is_there() -> bool {
    let user = Command::new("id").arg(EXIM_USER).stdout(Stdio::null()).stderr(Stdio::null()).status();
    exim_dir().join("usr/sbin/exim4").exists() && user.is_ok_and(|status| status.success())
}

/// Exim, an MTA that asks ours and delivers to it: unpacked to target/debian, with the libraries and the user that its
/// package would bring.
fn unpack_exim() -> Result<()> {
    let depends = Command::new("apt-cache").args(["depends", EXIM]).output().context("apt-cache")?;
    let depends = String::from_utf8_lossy(&depends.stdout).into_owned();
    let libraries = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let libraries: Vec<&str> = libraries.filter(|name| name.starts_with("lib") && !installed(name)).collect();
    if !libraries.is_empty() {
        apt_get(&[&["install", "-y", "-q", "--no-install-recommends"][..], &libraries[..]].concat())?;
    }
    let dir = target().join("debian");
    std::fs::create_dir_all(&dir)?;
    succeed(Command::new("apt-get").args(["download", "-q", EXIM]).current_dir(&dir))?;
    let file = std::fs::read_dir(&dir)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .with_context(|| format!("apt-get download left no package in {}", dir.display()))?;
    succeed(Command::new("dpkg-deb").arg("-x").arg(&file).arg(exim_dir()))?;
    std::fs::remove_file(&file)?;
    if !exim_is_there() {
        let mut user = Command::new("useradd");
        user.args([
            "--system",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
        ]);
        succeed(user.arg(EXIM_USER))?;
    }
    Ok(())
}

/// Installs what is missing when that is allowed (as root), and otherwise says exactly what to install.
pub fn ensure() -> Result<()> {
    let missing: Vec<&str> = PACKAGES.iter().map(|(name, _)| *name).filter(|name| !installed(name)).collect();
    let exim = exim_is_there();
    if missing.is_empty() && exim {
        return Ok(());
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0");
    let apt = Command::new("apt-get").arg("--version").stdout(Stdio::null()).status().is_ok();
    if (!root || !apt) && missing.is_empty() {
        println!(
            "Exim is not unpacked, which root's `cargo xtask debian` does; its tests will say `not run`"
        );
        return Ok(());
    }
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
    apt_get(&["update", "-q"])?;
    if !missing.is_empty() {
        println!("installing {}", missing.join(" "));
        apt_get(&[&["install", "-y", "-q", "--no-install-recommends"][..], &missing[..]].concat())?;
    }
    // Tests start their own; the packages' services would hold ports 21, 25, 143, 389 and 993.
    for (package, service) in [
        ("dovecot-imapd", "dovecot"),
        ("postfix", "postfix"),
        ("fetchmail", "fetchmail"),
        ("proftpd-core", "proftpd"),
        ("slapd", "slapd"),
    ] {
        if missing.contains(&package) {
            let mut stop = Command::new("systemctl");
            let _ =
                stop.args(["disable", "--now", service]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
    if exim { Ok(()) } else { unpack_exim() }
}

fn apt_get(args: &[&str]) -> Result<()> {
    // In this run level no service is started by its package.
    succeed(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"))
}

fn installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Status}", package]).stderr(Stdio::null());
    query.output().is_ok_and(|o| o.stdout.ends_with(b"ok installed"))
}
