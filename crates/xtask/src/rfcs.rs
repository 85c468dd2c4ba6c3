//! rfcs.toml, and where the sources cite RFCs.

use crate::root;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The list.
#[derive(Deserialize)]
pub struct List {
    /// Its rows.
    pub rfc: Vec<Rfc>,
}

/// One row.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rfc {
    /// Its number.
    pub number: u32,
    /// Its title.
    pub title: String,
    /// `full`, `part`, `used`, `planned` or `no`.
    pub status: String,
    /// What is missing, what is used, or why not.
    #[serde(default)]
    pub gap: String,
    /// Its section numbers, separated by blanks; empty when they are not checked.
    #[cfg_attr(not(test), allow(dead_code, reason = "the tidy test reads it"))]
    pub sections: String,
}

/// Reads rfcs.toml.
pub fn list() -> Result<List> {
    let text = std::fs::read_to_string(root().join("rfcs.toml")).context("rfcs.toml")?;
    Ok(toml::from_str(&text)?)
}

/// Files that cite an RFC, and the sections cited, by number.
pub type Citations = BTreeMap<u32, BTreeMap<String, BTreeSet<String>>>;

/// All citations in the sources.
pub fn citations() -> Result<Citations> {
    let mut files = Vec::new();
    walk(&root().join("crates"), &mut files)?;
    files.sort();
    let mut all = Citations::new();
    for path in files {
        let text = std::fs::read_to_string(&path)?;
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        for (number, sections) in cited(&text) {
            all.entry(number).or_default().entry(name.clone()).or_default().extend(sections);
        }
    }
    Ok(all)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// `RFC 9051 §6.4.6` and `RFC 9051 §5.5, §7.5.1`, with the sections; `RFC 9051` alone without.
fn cited(text: &str) -> Vec<(u32, Vec<String>)> {
    let mut all = Vec::new();
    for rest in text.split("RFC ").skip(1) {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse() else { continue };
        let mut rest = &rest[digits..];
        let mut sections = Vec::new();
        while let Some(next) = rest.strip_prefix(" §").or_else(|| rest.strip_prefix(", §")) {
            let end = next.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(next.len());
            sections.push(next[..end].trim_end_matches('.').to_owned());
            rest = &next[end..];
            // A full stop ends the sentence, not the list: `§5.5, §7.5.1.`
        }
        all.push((number, sections));
    }
    all
}

/// docs/reference/rfcs.md. Links go to files, not to lines: lines move with every edit.
pub fn page() -> Result<String> {
    let citations = citations()?;
    let mut out = String::from(
        "# RFCs\n\n<!-- Printed by `cargo xtask docs` from rfcs.toml and the citations in crates/. -->\n\n\
         What Culver has to do with each RFC, and the files that cite it.\n\n| RFC | title | status | cited in |\n|---|---|---|---|\n",
    );
    for rfc in list()?.rfc {
        let number = rfc.number;
        let files = citations.get(&number).map(|files| {
            files
                .keys()
                .map(|f| format!("[{}](../../{f})", f.trim_start_matches("crates/")))
                .collect::<Vec<_>>()
        });
        let gap = if rfc.gap.is_empty() { String::new() } else { format!(": {}", rfc.gap) };
        let _ = writeln!(
            out,
            "| [{number}](https://www.rfc-editor.org/rfc/rfc{number}) | {} | {}{gap} | {} |",
            rfc.title.replace('|', "\\|"),
            rfc.status,
            files.unwrap_or_default().join(", ")
        );
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_citations() {
        let text =
            "RFC 9051 §6.4.6: a. RFC 3501; RFC 9051 §5.5, §7.5.1. RFCs 1, RFC x, RFC 5464 erratum 2785";
        let of = |n: u32, s: &[&str]| (n, s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            cited(text),
            [of(9051, &["6.4.6"]), of(3501, &[]), of(9051, &["5.5", "7.5.1"]), of(5464, &[])]
        );
    }
}
