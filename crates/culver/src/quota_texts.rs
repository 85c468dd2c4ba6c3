//! The folder of an administrator's own texts (`quota.templates`): `LANGUAGE/STEP.txt`.
//!
//! What cannot be used is told with file and line, and the built-in text is taken. Names that begin with a dot, and files that do
//! not end in `.txt`, are nobody's business: editors leave such.

use anyhow::{Context, Result, bail};
use culver_keeper::texts::{BUILT_IN, LARGEST, STEPS, Text, Texts, built_in_file, is_tag};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Reads the folder; gives what can be used, and what is to be told of the rest. An empty path is no folder.
pub fn read(folder: &Path) -> (Texts, Vec<String>) {
    let mut texts = Texts::default();
    let mut found = Vec::new();
    if folder.as_os_str().is_empty() {
        return (texts, found);
    }
    for (path, name) in names(folder, &mut found) {
        if !path.is_dir() {
            continue;
        }
        if !is_tag(&name) {
            found.push(format!(
                "{}: {name} is the tag of no language: name the folder like `it` or `pt-BR`",
                path.display()
            ));
            continue;
        }
        texts.add_language(&name);
        for (file, name_of_file) in names(&path, &mut found) {
            let Some(step) = name_of_file.strip_suffix(".txt") else { continue };
            if !STEPS.contains(&step) {
                let steps = STEPS.map(|step| format!("{step}.txt")).join(", ");
                found.push(format!("{}: users are told of no such step: files are {steps}", file.display()));
                continue;
            }
            match text(&file) {
                Ok(text) => texts.add(&name, step, text),
                Err(wrong) => found.extend(wrong),
            }
        }
    }
    (texts, found)
}

#[allow(clippy::disallowed_methods, reason = "the administrator's own files")]
fn names(folder: &Path, found: &mut Vec<String>) -> Vec<(PathBuf, String)> {
    let read = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = read.unwrap_or_else(|why| {
        found.push(format!("{}: {why}: the service user must be able to read it", folder.display()));
        Vec::new()
    });
    let mut names: Vec<_> = entries
        .into_iter()
        .map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned()))
        .filter(|(_, name)| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

#[allow(clippy::disallowed_methods, reason = "the administrator's own files")]
fn text(file: &Path) -> Result<Text, Vec<String>> {
    let unreadable = |why: std::io::Error| {
        vec![format!("{}: {why}: the service user must be able to read it", file.display())]
    };
    // A pipe would be waited for.
    if !fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(vec![format!("{}: this is no file: write the text into one", file.display())]);
    }
    let mut octets = Vec::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file).and_then(|open| open.take(most).read_to_end(&mut octets)).map_err(unreadable)?;
    let at =
        |wrong: &culver_keeper::texts::Wrong| format!("{}:{}: {}", file.display(), wrong.line, wrong.what);
    Text::parse(&octets).map_err(|wrong| wrong.iter().map(at).collect())
}

/// Writes the built-in texts into a folder, to begin with; gives how many. What is there stays.
///
/// # Errors
/// When one is there, and nothing was written; or when a file cannot be written.
#[allow(clippy::disallowed_methods, reason = "a folder that the caller names")]
pub fn export(folder: &Path) -> Result<usize> {
    let all = || BUILT_IN.into_iter().flat_map(|language| STEPS.map(|step| (language, step)));
    let path = |language: &str, step: &str| folder.join(language).join(format!("{step}.txt"));
    for (language, step) in all() {
        let path = path(language, step);
        if path.symlink_metadata().is_ok() {
            bail!("{} is there already: name another folder, and take from it what you need", path.display());
        }
    }
    let mut written = 0;
    for (language, step) in all() {
        let path = path(language, step);
        let Some(text) = built_in_file(language, step) else { continue };
        let inside = folder.join(language);
        fs::create_dir_all(&inside).with_context(|| format!("cannot make {}", inside.display()))?;
        let mut new = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(why) if why.kind() == ErrorKind::AlreadyExists => continue,
            opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
        };
        new.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        written += 1;
    }
    Ok(written)
}
