//! Settings as text: as they are, as they would be, and as a page of the reference.

use crate::section::{Applies, Row, Section, Visitor};
use crate::settings::Settings;
use crate::{Origins, Problem};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Every setting with its value and where it comes from. The text is a configuration itself. `file` and `text` are what
/// `origins` speak of.
pub fn show(settings: &Settings, origins: &Origins, file: &str, text: &str) -> String {
    let mut lines = BTreeMap::new();
    for (path, span) in origins {
        let place = Problem::warning(Some(span.clone()), "", "").position(text);
        lines.insert(path.clone(), place.map_or(0, |(line, _)| line));
    }
    let mut writer =
        File { out: String::new(), path: String::new(), mode: Mode::Show { file, lines: &lines } };
    if settings.mailbox.is_empty() {
        // Sections cannot say that there is none of them; the default would come back.
        writer.out.push_str("mailbox = []\n");
    }
    settings.visit(&mut writer);
    writer.out
}

/// A configuration with every setting, documented, and all but the sections' names commented out.
pub fn default_file() -> String {
    let mut writer = File { out: String::new(), path: String::new(), mode: Mode::Default };
    writer.out.push_str(
        "# The configuration of Culver. Every setting has its default here, commented out.\n\
         # `culver config check` says what is wrong with a change, `culver config show` what is in effect.\n",
    );
    Settings::default().visit(&mut writer);
    writer.out
}

enum Mode<'a> {
    Show { file: &'a str, lines: &'a BTreeMap<String, usize> },
    Default,
}

struct File<'a> {
    out: String,
    path: String,
    mode: Mode<'a>,
}

impl File<'_> {
    fn within(&mut self, step: &str, run: impl FnOnce(&mut Self)) {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(step);
        run(self);
        self.path.truncate(before);
    }

    fn comment(&mut self, doc: &str) {
        for line in doc.lines() {
            let _ = writeln!(self.out, "#{}", line.trim_end());
        }
    }
}

/// `a.b[0].c` as the name of a section: `a.b.c`.
fn without_indexes(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

impl Visitor for File<'_> {
    fn value(&mut self, row: &Row, printed: String) {
        let name = row.name;
        match &self.mode {
            Mode::Show { file, lines } => {
                let path =
                    if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
                let origin = match lines.get(&path) {
                    Some(line) => format!("{file}:{line}"),
                    None => "default".to_owned(),
                };
                let _ = writeln!(self.out, "{name} = {printed}  # {origin}");
            }
            Mode::Default => {
                self.out.push('\n');
                self.comment(row.doc);
                let _ = writeln!(self.out, "#{name} = {printed}");
            }
        }
    }

    fn table(&mut self, name: &'static str, doc: &'static str, inside: &dyn Section) {
        self.within(name, |w| {
            w.out.push('\n');
            w.comment(doc);
            let _ = writeln!(w.out, "[{}]", without_indexes(&w.path));
            inside.visit(w);
        });
    }

    fn list(
        &mut self,
        name: &'static str,
        doc: &'static str,
        elements: Vec<&dyn Section>,
        blank: &dyn Section,
    ) {
        match self.mode {
            Mode::Show { .. } if elements.is_empty() => {
                self.within(name, |w| {
                    let _ = writeln!(w.out, "\n# [[{}]]: none", without_indexes(&w.path));
                });
            }
            Mode::Show { .. } => {
                for (index, element) in elements.into_iter().enumerate() {
                    self.within(&format!("{name}[{index}]"), |w| {
                        let _ = writeln!(w.out, "\n[[{}]]", without_indexes(&w.path));
                        element.visit(w);
                    });
                }
            }
            Mode::Default => {
                self.within(name, |w| {
                    w.out.push('\n');
                    w.comment(doc);
                    let mut inner = File { out: String::new(), path: w.path.clone(), mode: Mode::Default };
                    blank.visit(&mut inner);
                    let _ = writeln!(w.out, "#[[{}]]", without_indexes(&w.path));
                    for line in inner.out.lines() {
                        let hidden = if line.is_empty() || line.starts_with('#') {
                            line.to_owned()
                        } else {
                            format!("#{line}")
                        };
                        let _ = writeln!(w.out, "{hidden}");
                    }
                });
            }
        }
    }
}

/// The page of the reference, as Markdown.
pub fn reference() -> String {
    let mut page = Page { out: String::new(), path: String::new() };
    page.out.push_str(
        "# Settings\n\n\
         <!-- Printed by `cargo xtask docs` from crates/config/src/settings.rs. Change it there. -->\n\n\
         One file in TOML, by default `/etc/culver/culver.toml`. Every setting has a default; an empty file is valid.\n\
         `culver config check` points at mistakes, `culver config show` prints every setting with its origin.\n\n\
         Lengths of time are written with a unit (`\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"1h\"`, `\"7d\"`), sizes too\n\
         (`\"64MiB\"`, `\"1GiB\"`).\n",
    );
    page.out.push_str("\n## At the top of the file\n\n");
    page.text(Settings::DOC);
    Settings::default().visit(&mut page);
    page.out
}

struct Page {
    out: String,
    path: String,
}

impl Page {
    fn text(&mut self, doc: &str) {
        for line in doc.lines() {
            let _ = writeln!(self.out, "{}", line.trim());
        }
    }

    fn within(&mut self, title: &str, name: &str, doc: &str, inside: &dyn Section) {
        let _ = writeln!(self.out, "\n## {title}\n");
        self.text(doc);
        let before = std::mem::replace(&mut self.path, format!("{name}."));
        inside.visit(self);
        self.path = before;
    }
}

impl Visitor for Page {
    fn value(&mut self, row: &Row, printed: String) {
        let _ = writeln!(self.out, "\n### `{}{}`\n", self.path, row.name);
        self.text(row.doc);
        let applies = match row.applies {
            Applies::Reload => "reload",
            Applies::Restart => "restart",
        };
        let _ = writeln!(
            self.out,
            "\n{}; default `{printed}`; example `{}`; a change counts after a {applies}.",
            capital(row.kind),
            row.example
        );
    }

    fn table(&mut self, name: &'static str, doc: &'static str, inside: &dyn Section) {
        let full = format!("{}{name}", self.path);
        self.within(&format!("`[{full}]`"), &full, doc, inside);
    }

    fn list(&mut self, name: &'static str, doc: &'static str, _: Vec<&dyn Section>, blank: &dyn Section) {
        let full = format!("{}{name}", self.path);
        self.within(&format!("`[[{full}]]`"), &full, doc, blank);
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

/// Settings which differ and count only after a restart, by their paths.
pub fn changes_for_restart(old: &Settings, new: &Settings) -> Vec<String> {
    let (old, new) = (flat(old), flat(new));
    let paths = old.keys().chain(new.keys()).filter(|path| old.get(*path) != new.get(*path));
    let mut changed: Vec<String> = paths.cloned().collect();
    changed.sort();
    changed.dedup();
    changed
}

/// How many settings are not what they are without a configuration.
pub fn differing(settings: &Settings) -> usize {
    let all = |settings: &Settings| {
        let mut flat = Flat { values: BTreeMap::new(), path: String::new(), which: |_| true };
        settings.visit(&mut flat);
        flat.values
    };
    let (ours, default) = (all(settings), all(&Settings::default()));
    let taken_away = default.keys().filter(|path| !ours.contains_key(*path)).count();
    taken_away + ours.iter().filter(|(path, value)| default.get(*path) != Some(value)).count()
}

fn flat(settings: &Settings) -> BTreeMap<String, String> {
    let which = |row: &Row| row.applies == Applies::Restart;
    let mut flat = Flat { values: BTreeMap::new(), path: String::new(), which };
    settings.visit(&mut flat);
    flat.values
}

struct Flat {
    values: BTreeMap<String, String>,
    path: String,
    which: fn(&Row) -> bool,
}

impl Visitor for Flat {
    fn value(&mut self, row: &Row, printed: String) {
        if (self.which)(row) {
            self.values.insert(format!("{}{}", self.path, row.name), printed);
        }
    }

    fn table(&mut self, name: &'static str, _: &'static str, inside: &dyn Section) {
        let before = self.path.clone();
        self.path = format!("{before}{name}.");
        inside.visit(self);
        self.path = before;
    }

    fn list(&mut self, name: &'static str, _: &'static str, elements: Vec<&dyn Section>, _: &dyn Section) {
        let before = self.path.clone();
        for (index, element) in elements.into_iter().enumerate() {
            self.path = format!("{before}{name}[{index}].");
            element.visit(self);
        }
        self.path = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_sets_nothing_and_can_be_uncommented() {
        let text = default_file();
        let parsed = crate::parse(&text);
        assert!(!parsed.has_errors(), "{:?}", parsed.problems);
        assert_eq!(parsed.settings, Settings::default());
        // Settings of lists stay out: there is none of them by default.
        let mut in_list = false;
        let open: String = text
            .lines()
            .map(|l| l.strip_prefix('#').filter(|l| !l.starts_with([' ', '#'])).unwrap_or(l))
            .take_while(|l| !l.starts_with("# A source of accounts"))
            .filter(|l| {
                if l.starts_with('[') {
                    in_list = l.starts_with("[[");
                }
                !in_list
            })
            .fold(String::new(), |all, l| all + l + "\n");
        let parsed = crate::parse(&open);
        assert!(!parsed.has_errors(), "{open}\n{:?}", parsed.problems);
        assert_eq!(parsed.settings, Settings::default());
    }

    #[test]
    fn what_is_shown_is_a_configuration_with_the_same_meaning() {
        let text = "hostname = \"h\"\nmailbox = []\n[imap]\nidle_timeout = \"1h\"\n[[tls.certificate]]\n\
                    certificate = \"/c\"\nkey = \"/k\"\n[[directory]]\nsource = \"passwd-file\"\npath = \"/p\"\n\
                    [[directory.domain]]\nname = \"a\"\naliases = [\"b\"]\n";
        let parsed = crate::parse(text);
        assert!(!parsed.has_errors(), "{:?}", parsed.problems);
        let shown = show(&parsed.settings, &parsed.origins, "culver.toml", text);
        assert!(shown.contains("idle_timeout = \"1h\"  # culver.toml:4\n"), "{shown}");
        assert!(shown.contains("line_limit = \"64KiB\"  # default\n"), "{shown}");
        assert_eq!(crate::parse(&shown).settings, parsed.settings, "{shown}");
    }

    #[test]
    fn every_setting_is_documented_with_an_example_that_is_valid() {
        struct Rows(String, usize);
        impl Visitor for Rows {
            fn value(&mut self, row: &Row, _: String) {
                self.1 += 1;
                assert!(row.doc.trim().ends_with(['.', '?']) && row.doc.len() > 10, "{}{}", self.0, row.name);
                let mut text = format!("{}{} = {}\n", self.0, row.name, row.example);
                if let Some((list, within)) = self.0.rsplit_once("]]\n") {
                    text = format!("{list}]]\n{within}{} = {}\n", row.name, row.example);
                }
                let parsed = crate::parse(&text);
                let unknown =
                    |p: &&Problem| p.what.starts_with("there is no setting") || p.what.contains("wanted");
                assert_eq!(parsed.problems.iter().find(unknown), None, "{text}");
            }
            fn table(&mut self, name: &'static str, _: &'static str, inside: &dyn Section) {
                let inner = format!("{}{name}.", self.0);
                let before = std::mem::replace(&mut self.0, inner);
                inside.visit(self);
                self.0 = before;
            }
            fn list(
                &mut self,
                name: &'static str,
                _: &'static str,
                _: Vec<&dyn Section>,
                blank: &dyn Section,
            ) {
                let full = self.0.replace("]]\n", ".").replace("[[", "") + name;
                let before = std::mem::replace(&mut self.0, format!("[[{full}]]\n"));
                blank.visit(self);
                self.0 = before;
            }
        }
        let mut rows = Rows(String::new(), 0);
        Settings::default().visit(&mut rows);
        assert!(rows.1 > 30);
        let page = reference();
        assert!(page.contains("### `directory.domain.aliases`") && page.contains("## `[[tls.certificate]]`"));
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let new = crate::parse("hostname = \"x\"\n[imap]\nlisten = []\nidle_timeout = \"2h\"\n").settings;
        assert_eq!(changes_for_restart(&Settings::default(), &new), ["hostname", "imap.listen"]);
    }
}
