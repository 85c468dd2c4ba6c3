//! Where the directory is kept: one door to both databases.

use super::postgresql::Server;
use super::sqlite::File;
use super::statement::{Db, Error, Failed};
use super::{Inner, Problem};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// The file, or the server.
pub enum Store {
    /// SQLite.
    Sqlite(File),
    /// PostgreSQL.
    PostgreSql(Server),
}

/// Does a change concern accounts and how they log in? Then every server looks again how passwords are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Concerns {
    /// It may.
    Accounts,
    /// It is notes about them that servers write all the time.
    Notes,
}

impl Store {
    pub fn failed(&self, why: impl ToString) -> Problem {
        let why = why.to_string();
        match self {
            Self::Sqlite(file) => Problem::File { path: file.path.clone(), why },
            Self::PostgreSql(server) => Problem::Server { place: server.place(), why },
        }
    }

    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(file) => file.path.display().to_string(),
            Self::PostgreSql(server) => server.place(),
        }
    }
}

impl Inner {
    /// Reads; perhaps twice, when a connection broke.
    pub(super) fn read<T>(&self, work: impl Fn(&Db<'_>) -> Result<T, Error>) -> Result<T, Problem> {
        let read = match &self.store {
            Store::Sqlite(file) => file.read(work),
            Store::PostgreSql(server) => server.read(work),
        };
        read.map_err(|why| self.store.failed(why))
    }

    /// Runs one transaction that writes.
    pub(super) fn write<T>(&self, work: impl FnOnce(&Db<'_>) -> Result<T, Failed>) -> Result<T, Problem> {
        let done = self.change(Concerns::Accounts, work)?;
        // Nobody looks before somebody asks: accounts are often added by the thousand.
        self.schemes.seen.store(-1, Ordering::Relaxed);
        Ok(done)
    }

    /// Runs one transaction that writes.
    pub(super) fn change<T>(
        &self,
        concerns: Concerns,
        work: impl FnOnce(&Db<'_>) -> Result<T, Failed>,
    ) -> Result<T, Problem> {
        let work = |db: &Db<'_>| {
            let done = work(db)?;
            if concerns == Concerns::Accounts {
                db.execute("UPDATE revision SET n = n + 1", &[])?;
            }
            Ok(done)
        };
        let done = match &self.store {
            Store::Sqlite(file) => file.write(work),
            Store::PostgreSql(server) => server.write(work),
        };
        done.map_err(|failed| match failed {
            Failed::Refused(problem) => problem,
            Failed::Database(why) => self.store.failed(why),
        })
    }
}

/// The time for what is noted with a change, in seconds of Unix time.
#[allow(clippy::disallowed_methods, reason = "the directory's one clock")]
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
