//! Hearing of changes that other programs make.

/// One inotify instance for the store.
#[derive(Default)]
pub struct Watcher;
