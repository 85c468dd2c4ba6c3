//! `culver release`.

use super::{Progress, Use, Which, work};
use crate::{DEFAULT_CONFIG, parts};
use anyhow::{Result, bail};
use culver_config::Settings;
use culver_directory::Directory;
use culver_maildir::release::{Released, release};
use culver_store::{Layout, Place};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

/// `culver release`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Runs the doveadm lines instead of printing them. Dovecot must be running, with nobody let in yet.
    #[arg(long)]
    run: bool,
    /// What divides levels in Dovecot's namespace. By default `.` for maildir++ and `/` for fs, as Dovecot has it.
    #[arg(long, value_name = "CHAR")]
    separator: Option<char>,
    /// The prefix of Dovecot's namespace, such as `INBOX.`
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// What there is to say of one account.
struct Row {
    name: String,
    result: Result<Vec<Released>>,
    lines: Vec<Vec<String>>,
}

/// Prepares the way back.
pub fn run(arguments: &Arguments) -> Result<()> {
    let rows = work(&arguments.config, Use::Alone, async move |settings, directory| {
        release_all(arguments, settings, directory).await
    })?;
    let failed = rows.iter().filter(|r| r.has_failed()).count();
    let mut text = Vec::new();
    for row in &rows {
        text.push(row.text());
    }
    if arguments.json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        println!("{}", json!({ "accounts": rows }));
    } else {
        println!("{}", text.join("\n"));
    }
    let lines = || rows.iter().flat_map(|r| &r.lines);
    if arguments.run {
        let refused = lines().filter(|line| !succeeds(line)).count();
        if refused > 0 {
            bail!(
                "{refused} of {} lines were refused by doveadm: is Dovecot running? Run the command again",
                lines().count()
            );
        }
        eprintln!("{} mailboxes of Dovecot lifted above Culver's mod-sequences", lines().count());
    } else if !arguments.json {
        println!(
            "\nStart Dovecot, and before clients come (its ports still closed) run these lines, or culver release --run:\n"
        );
        for line in lines() {
            println!("{}", shell(line));
        }
    }
    if failed > 0 {
        bail!("{failed} of {} accounts are not ready to go back; what to do stands above", rows.len());
    }
    Ok(())
}

async fn release_all(arguments: &Arguments, settings: &Settings, directory: &Directory) -> Result<Vec<Row>> {
    let accounts = arguments.which.accounts(directory).await?;
    if let Some(path) = arguments.which.path().filter(|_| accounts.is_empty()) {
        bail!("no account of the configuration has its mail in {}", path.display());
    }
    let store = parts::store(settings)?;
    let progress = Progress::new(accounts.len());
    let mut rows = Vec::new();
    for (name, account) in accounts {
        let mut begins = |at: usize, of: usize, mailbox: &culver_base::MailboxName| {
            progress.begins(&name, at, of, mailbox.as_str());
        };
        let mut lines = Vec::new();
        let result = match account {
            Ok(account) => {
                let place = culver_imapd::place(&account);
                let done = release(&store, &place, &mut begins).await;
                for one in done.iter().flatten().filter(|r| r.mod_seq > 0) {
                    lines.push(arguments.line(&name, &place, one));
                }
                done.map_err(anyhow::Error::from)
            }
            Err(e) => Err(e),
        };
        progress.done("");
        rows.push(Row { name, result, lines });
    }
    Ok(rows)
}

impl Arguments {
    /// The command that lifts one mailbox's HIGHESTMODSEQ.
    fn line(&self, user: &str, place: &Place, one: &Released) -> Vec<String> {
        let usual = if place.layout == Layout::Fs { '/' } else { '.' };
        let separator = self.separator.unwrap_or(usual).to_string();
        let name = if one.name.is_inbox() {
            "INBOX".to_owned()
        } else {
            let levels: Vec<&str> = one.name.levels().collect();
            format!("{}{}", self.prefix, levels.join(&separator))
        };
        let mod_seq = one.mod_seq.to_string();
        let words = [
            "doveadm",
            "mailbox",
            "update",
            "-u",
            user,
            "--min-highest-modseq",
            mod_seq.as_str(),
            name.as_str(),
        ];
        words.map(str::to_owned).to_vec()
    }
}

impl Row {
    fn has_failed(&self) -> bool {
        self.result.as_ref().map_or(true, |all| all.iter().any(|r| r.failure.is_some()))
    }

    fn text(&self) -> String {
        let all = match &self.result {
            Ok(all) => all,
            Err(e) => return format!("{}: NOT ready: {e:#}", self.name),
        };
        let messages: usize = all.iter().map(|r| r.messages).sum();
        let ready = if self.has_failed() { "NOT all ready" } else { "ready for Dovecot" };
        let mut text = format!("{}: {} mailboxes, {messages} messages {ready}", self.name, all.len());
        for one in all {
            let name = one.name.as_str().escape_debug();
            if let Some(failure) = &one.failure {
                text.push_str(&format!("\n  ! {name}: {failure}"));
            }
            for odd in &one.odd {
                text.push_str(&format!("\n  ! {name}: {odd}"));
            }
            if !one.without_letter.is_empty() {
                let list: Vec<String> =
                    one.without_letter.iter().map(|(k, n)| format!("{k} ({n} messages)")).collect();
                text.push_str(&format!(
                    "\n  ! {name}: all 26 letters are in use, so these keywords cannot go back in file names; Dovecot \
                     knows of them what its own index says: {}",
                    list.join(", ")
                ));
            }
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let mailbox = |r: &Released| {
            json!({
                "name": r.name.as_str(),
                "messages": r.messages,
                "highest_mod_seq": r.mod_seq,
                "keywords_without_letter": r.without_letter.iter()
                    .map(|(k, n)| json!({ "keyword": k, "messages": n })).collect::<Vec<_>>(),
                "odd": r.odd,
                "failure": r.failure,
            })
        };
        match &self.result {
            Ok(all) => json!({
                "user": self.name,
                "mailboxes": all.iter().map(mailbox).collect::<Vec<_>>(),
                "commands": self.lines,
            }),
            Err(e) => json!({ "user": self.name, "failure": format!("{e:#}") }),
        }
    }
}

fn succeeds(line: &[String]) -> bool {
    let Some((program, arguments)) = line.split_first() else { return false };
    Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}

/// As a shell would read it.
fn shell(words: &[String]) -> String {
    let plain = |b: char| b.is_ascii_alphanumeric() || "-_./@+=:,%".contains(b);
    let quoted = |word: &String| match word.chars().all(plain) && !word.is_empty() {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_the_shell() {
        let line = ["doveadm", "-u", "a@b.c", "Entwürfe 'x'", ""].map(str::to_owned);
        assert_eq!(shell(&line), r"doveadm -u a@b.c 'Entwürfe '\''x'\''' ''");
    }
}
