//! An installed Dovecot, spoken to over pipes: its `imap` program, already logged in.

#![allow(dead_code, reason = "each test file uses a part")]

use culver_store::{Layout, Owner};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const IMAP: &str = "/usr/lib/dovecot/imap";
const POP3: &str = "/usr/lib/dovecot/pop3";

/// Dovecot does not serve root: as root, tests work for this user.
pub fn owner() -> Option<Owner> {
    rustix::process::geteuid().is_root().then_some(Owner { uid: 64_321, gid: 64_321 })
}

pub struct Dovecot {
    conf: PathBuf,
    home: PathBuf,
}

impl Dovecot {
    /// `None`, with a note, when there is none.
    pub fn new(temp: &Path, root: &Path, layout: Layout) -> Option<Self> {
        if !Path::new(IMAP).exists() {
            std::io::stderr().write_all(b"not run: Dovecot is not installed\n").unwrap();
            return None;
        }
        std::fs::set_permissions(temp, PermissionsExt::from_mode(0o755)).unwrap();
        let home = temp.join("home");
        std::fs::create_dir(&home).unwrap();
        if let Some(o) = owner() {
            chown(&home, Some(o.uid), Some(o.gid)).unwrap();
        }
        let layout = if layout == Layout::Fs { ":LAYOUT=fs" } else { "" };
        let text = format!(
            "protocols = imap\nlog_path = /dev/null\nssl = no\nmail_location = maildir:{}{layout}\n\
             namespace inbox {{\n inbox = yes\n separator = /\n}}\n",
            root.display()
        );
        let conf = temp.join("dovecot.conf");
        std::fs::write(&conf, text).unwrap();
        std::fs::set_permissions(&conf, PermissionsExt::from_mode(0o644)).unwrap();
        Some(Self { conf, home })
    }

    /// Adds to its configuration.
    pub fn configure(&self, text: &str) {
        let old = std::fs::read_to_string(&self.conf).unwrap();
        std::fs::write(&self.conf, old + text).unwrap();
    }

    /// Says these commands (without tags) and gives back all that was answered.
    pub fn say(&self, commands: &[&str]) -> String {
        let mut text = String::new();
        for (n, command) in commands.iter().chain(&["LOGOUT"]).enumerate() {
            text.push_str(&format!("t{n} {command}\r\n"));
        }
        self.run(IMAP, &text)
    }

    /// What UIDL tells by POP3. `None`, with a note, when Dovecot has no POP3.
    pub fn uidl(&self) -> Option<Vec<String>> {
        if !Path::new(POP3).exists() {
            std::io::stderr().write_all(b"not run: UIDLs, as dovecot-pop3d is not installed\n").unwrap();
            return None;
        }
        let answer = self.run(POP3, "UIDL\r\nQUIT\r\n");
        let lines = answer.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit()));
        Some(lines.map(|l| l.split_once(' ').unwrap().1.to_owned()).collect())
    }

    fn run(&self, program: &str, text: &str) -> String {
        let mut command = Command::new("timeout");
        command.args(["20", program, "-c"]).arg(&self.conf).env("USER", "test").env("HOME", &self.home);
        if let Some(o) = owner() {
            command.uid(o.uid).gid(o.gid);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        assert!(child.wait().unwrap().success(), "{answer}");
        answer
    }

    /// What LIST or LSUB tells: wire name, and whether it can be selected.
    pub fn list(&self, command: &str) -> Vec<(String, bool)> {
        let mut all: Vec<_> = self
            .say(&[command])
            .lines()
            .filter(|l| l.starts_with("* LIST") || l.starts_with("* LSUB"))
            .map(|l| {
                let name = l.rsplit_once("\"/\" ").unwrap().1.trim_matches('"').to_owned();
                (name, !l.contains("\\Noselect"))
            })
            .collect();
        all.sort();
        all.dedup();
        all
    }
}
