//! Generated documentation: printed from where the facts are defined.

use crate::{rfcs, root};
use anyhow::{Context, Result};
use culver_imap::capability::{CAPABILITIES, Capability, Show};
use culver_pop3::capability as pop3;
use std::fmt::Write as _;
use std::path::Path;

/// Every generated file: its path, and what it should be.
pub fn pages() -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("docs/reference/settings.md", culver_config::reference()),
        ("docs/reference/capabilities.md", capabilities()),
        ("docs/reference/pop3-capabilities.md", pop3_capabilities()),
        ("docs/reference/rfcs.md", rfcs::page()?),
        ("dist/culver.toml", culver_config::default_file()),
        ("README.md", readme()?),
    ])
}

/// Writes them.
pub fn write() -> Result<()> {
    for (path, text) in pages()? {
        let full = root().join(path);
        if let Some(folder) = full.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let old = std::fs::read_to_string(&full).unwrap_or_default();
        if old != text {
            std::fs::write(&full, text).with_context(|| path.to_owned())?;
            println!("printed {path}");
        }
    }
    Ok(())
}

fn shown(show: Show) -> &'static str {
    match show {
        Show::Always => "always",
        Show::BeforeLogin => "before login",
        Show::BeforeTls => "before login, without TLS",
        Show::LoginDisabled => "before login, where passwords need TLS first",
        Show::AfterLogin => "after login",
        Show::LiteralPlus => "always, unless LITERAL- is configured",
        Show::LiteralMinus => "always, in place of LITERAL+, where configured",
    }
}

fn capabilities() -> String {
    let mut out = String::from(
        "# Capabilities\n\n<!-- Printed by `cargo xtask docs` from crates/imap/src/capability.rs. -->\n\n\
         What a session may be shown in CAPABILITY, from which RFC, when, and the transcript that proves it.\n\n\
         | capability | RFC | shown | proof |\n|---|---|---|---|\n",
    );
    for Capability { token, rfc, show, proof, .. } in CAPABILITIES {
        let _ = writeln!(
            out,
            "| `{token}` | [{rfc}](https://www.rfc-editor.org/rfc/rfc{rfc}) | {} | \
             [{proof}](../../tests/transcripts/imap/{proof}.txt) |",
            shown(*show)
        );
    }
    out
}

fn pop3_shown(show: pop3::Show) -> &'static str {
    match show {
        pop3::Show::Always => "always",
        pop3::Show::Passwords => "where a password may be sent",
        pop3::Show::Mechanisms => "where a mechanism is offered",
        pop3::Show::BeforeTls => "before login, without TLS",
        pop3::Show::LoginDelay => "where `pop3.login_delay` is set",
    }
}

fn pop3_capabilities() -> String {
    let mut out = String::from(
        "# Capabilities of POP3\n\n<!-- Printed by `cargo xtask docs` from crates/pop3/src/capability.rs. -->\n\n\
         What CAPA may show, from which RFC, when, and the transcript that proves it. APOP has no capability: where it is \
         offered, the greeting has a timestamp.\n\n| capability | RFC | shown | proof |\n|---|---|---|---|\n",
    );
    for pop3::Capability { token, rfc, show, proof, .. } in pop3::CAPABILITIES {
        let _ = writeln!(
            out,
            "| `{token}` | [{rfc}](https://www.rfc-editor.org/rfc/rfc{rfc}) | {} | \
             [{proof}](../../tests/transcripts/pop3/{proof}.txt) |",
            pop3_shown(*show)
        );
    }
    out
}

const BEGIN: &str = "<!-- begin: printed by `cargo xtask docs` from the table of capabilities -->\n";
const END: &str = "<!-- end -->";

/// README.md with its generated section made anew.
fn readme() -> Result<String> {
    let old = std::fs::read_to_string(root().join("README.md")).context("README.md")?;
    let (before, rest) = old.split_once(BEGIN).context("README.md: the begin mark is missing")?;
    let (_, after) = rest.split_once(END).context("README.md: the end mark is missing")?;
    let tokens: Vec<String> = CAPABILITIES
        .iter()
        .filter(|c| c.token != "LOGINDISABLED" && c.token != "AUTH=")
        .map(|c| format!("{} ([RFC {}](https://www.rfc-editor.org/rfc/rfc{}))", c.token, c.rfc, c.rfc))
        .collect();
    Ok(format!("{before}{BEGIN}{}.\n{END}{after}", wrap(&tokens.join(", "))))
}

/// Breaks lines at about a hundred columns.
fn wrap(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        if column > 0 && column + word.len() > 110 {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out
}

/// Folds changes/*.md into CHANGELOG.md under the version, and removes them.
pub fn release(version: &str) -> Result<()> {
    let folder = root().join("changes");
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let is_change = path.extension().is_some_and(|e| e == "md")
            && path.file_name() != Path::new("README.md").file_name();
        if is_change {
            entries.push((path.clone(), std::fs::read_to_string(&path)?));
        }
    }
    entries.sort();
    let file = root().join("CHANGELOG.md");
    let old = std::fs::read_to_string(&file)?;
    let (head, tail) = old.split_once("\n## ").map_or((old.as_str(), None), |(h, t)| (h, Some(t)));
    let mut text = format!("{}\n\n## {version}\n", head.trim_end());
    for (_, entry) in &entries {
        let _ = write!(text, "\n{}\n", entry.trim());
    }
    if let Some(tail) = tail {
        let _ = write!(text, "\n## {tail}");
    }
    std::fs::write(&file, text)?;
    for (path, _) in entries {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
