//! Where events go.
//!
//! A line is written by one call, so that lines of several threads do not mix. A line that cannot be written (disk full,
//! reader gone) is lost: serving mail goes before logging it.

use crate::clock;
use crate::event::{Event, Level};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Style {
    /// For people.
    #[default]
    Plain,
    /// As Dovecot writes it.
    Dovecot,
    /// One JSON object a line.
    Json,
}

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Destination {
    /// Standard error, each line with its time.
    #[default]
    Stderr,
    /// Standard error which systemd's journal reads: it adds time and name itself.
    Journal,
    /// A file, appended to.
    File(PathBuf),
}

impl Destination {
    /// Standard error, and whether the journal is behind it. `journal_stream` is the variable JOURNAL_STREAM.
    pub fn stderr(journal_stream: Option<&str>) -> Self {
        if journal_stream.is_some_and(|s| !s.is_empty()) { Self::Journal } else { Self::Stderr }
    }
}

/// The handle through which everybody tells what happened. Cloning is cheap.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

struct Inner {
    out: Mutex<Out>,
}

enum Out {
    Nowhere,
    Lines { style: Style, least: Level, destination: Destination, file: Option<File> },
    Memory(Vec<Event>),
}

/// The events that a recorder has taken.
pub struct Recorded {
    inner: Arc<Inner>,
}

impl Events {
    /// Lines of at least this level.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn new(style: Style, least: Level, destination: Destination) -> io::Result<Self> {
        let file = open(&destination)?;
        Ok(Self::with(Out::Lines { style, least, destination, file }))
    }

    /// To nowhere.
    pub fn none() -> Self {
        Self::with(Out::Nowhere)
    }

    /// Into memory, to be looked at.
    pub fn recorder() -> (Self, Recorded) {
        let events = Self::with(Out::Memory(Vec::new()));
        let recorded = Recorded { inner: events.inner.clone() };
        (events, recorded)
    }

    fn with(out: Out) -> Self {
        Self { inner: Arc::new(Inner { out: Mutex::new(out) }) }
    }

    /// Opens the file again under its name, after a log rotation, or changes what is written.
    ///
    /// # Errors
    /// When the file cannot be opened; then the old one stays.
    pub fn reopen(&self, style: Style, least: Level, destination: Destination) -> io::Result<()> {
        let file = open(&destination)?;
        *self.inner.out.lock() = Out::Lines { style, least, destination, file };
        Ok(())
    }

    /// Tells what happened.
    pub fn emit(&self, event: Event) {
        match &mut *self.inner.out.lock() {
            Out::Nowhere => {}
            Out::Memory(events) => events.push(event),
            Out::Lines { least, .. } if event.level() < *least => {}
            Out::Lines { style, destination, file, .. } => {
                let line = full_line(&event, *style, destination);
                let _ = match file {
                    Some(file) => file.write_all(line.as_bytes()),
                    None => io::stderr().lock().write_all(line.as_bytes()),
                };
            }
        }
    }

    /// Would a line of this level be written?
    pub fn wants(&self, level: Level) -> bool {
        match &*self.inner.out.lock() {
            Out::Nowhere => false,
            Out::Memory(_) => true,
            Out::Lines { least, .. } => level >= *least,
        }
    }
}

impl Recorded {
    /// Takes out what has been told so far.
    pub fn take(&self) -> Vec<Event> {
        match &mut *self.inner.out.lock() {
            Out::Memory(events) => std::mem::take(events),
            _ => Vec::new(),
        }
    }
}

#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the log file is the server's own")]
fn open(destination: &Destination) -> io::Result<Option<File>> {
    match destination {
        Destination::File(path) => File::options().create(true).append(true).open(path).map(Some),
        Destination::Stderr | Destination::Journal => Ok(None),
    }
}

fn full_line(event: &Event, style: Style, destination: &Destination) -> String {
    let at = clock::now();
    let journal = *destination == Destination::Journal;
    match style {
        Style::Json => format!("{}\n", crate::json::render(event, at)),
        Style::Dovecot if journal => format!("{}\n", crate::dovecot::render(event)),
        Style::Dovecot => format!("{} dovecot: {}\n", clock::rfc3339(at), crate::dovecot::render(event)),
        Style::Plain if journal => {
            // sd-daemon(3): the journal takes the level from here.
            let level = match event.level() {
                Level::Debug => 7,
                Level::Info => 6,
                Level::Warning => 4,
                Level::Error => 3,
            };
            format!("<{level}>{}\n", crate::plain::render(event))
        }
        Style::Plain => {
            format!("{} {:7} {}\n", clock::rfc3339(at), event.level().name(), crate::plain::render(event))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_below_the_level_are_not_written_and_a_file_can_be_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let to = || Destination::File(path.clone());
        let events = Events::new(Style::Plain, Level::Info, to()).unwrap();
        events.emit(Event::message(Level::Debug, "x", "not this"));
        events.emit(Event::message(Level::Info, "x", "this"));
        let old = dir.path().join("log.1");
        std::fs::rename(&path, &old).unwrap();
        events.emit(Event::message(Level::Info, "x", "still the old"));
        events.reopen(Style::Json, Level::Info, to()).unwrap();
        events.emit(Event::message(Level::Error, "x", "the new"));
        let old = std::fs::read_to_string(old).unwrap();
        assert!(old.contains("x: this") && old.contains("still the old") && !old.contains("not this"));
        assert!(std::fs::read_to_string(path).unwrap().starts_with('{'));
    }

    #[test]
    fn a_recorder_gives_back_what_was_told() {
        let (events, recorded) = Events::recorder();
        events.emit(Event::Stopping { sessions: 2 });
        assert_eq!(recorded.take(), [Event::Stopping { sessions: 2 }]);
        assert_eq!(recorded.take(), []);
    }
}
