//! The directory in a file: how it is opened, and its transactions.
//!
//! Why a rollback journal: WAL shares its index between processes through a mapped `-shm` file, and a mapped file that
//! shrinks or has no room kills the process that touches it. WAL without `-shm` exists, but only with
//! `locking_mode=EXCLUSIVE`, where the file belongs to one process alone. A rollback journal maps nothing
//! (`mmap_size=0`), still reads on a full disk, and costs a second fsync in writes that are rare here. Readers keep no
//! lock between look-ups. The journal is deleted, not kept, so no file of root's stays behind which the server's user
//! could not write; SQLite gives a journal made by root to the owner of the database.

use super::Problem;
use super::schema::{TABLES, VERSION};
use super::statement::{Db, Error, Failed};
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file.
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    connection: Mutex<Connection>,
}

impl File {
    /// Opens it; makes it when there is none.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let failed = |why: &dyn ToString| Problem::File { path: path.to_owned(), why: why.to_string() };
        create(path).map_err(|e| failed(&e))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(|e| failed(&e))?;
        let version = prepare(&mut connection).map_err(|e| failed(&e))?;
        if version > VERSION {
            let why =
                format!("version {version} is later than this program's {VERSION}; use the newer program");
            return Err(failed(&why));
        }
        if version < VERSION {
            let why = format!(
                "version {version} is from before the first release; move it away, and add the accounts again"
            );
            return Err(failed(&why));
        }
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// Reads, each statement by itself.
    pub fn read<T>(&self, work: impl FnOnce(&Db<'_>) -> Result<T, Error>) -> Result<T, Error> {
        work(&Db::Sqlite(&self.connection.lock()))
    }

    /// One transaction that writes.
    pub fn write<T>(&self, work: impl FnOnce(&Db<'_>) -> Result<T, Failed>) -> Result<T, Failed> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.map_err(Error::from)?;
        let done = work(&Db::Sqlite(&transaction))?;
        transaction.commit().map_err(Error::from)?;
        Ok(done)
    }
}

/// Makes the tables in a new file; gives the version that the file has.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    let version =
        |connection: &Connection| connection.pragma_query_value(None, "user_version", |row| row.get(0));
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Otherwise SQLite plans joins anew for each set of values, which takes ten times as long as to run them.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without a lock for writing when nothing is to be written.
    let found: i64 = version(connection)?;
    if found != 0 {
        return Ok(found);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Somebody else may have been faster.
    if version(&transaction)? == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    let now = version(&transaction)?;
    transaction.commit()?;
    Ok(now)
}

/// Makes the file so that only its owner reads it. Made by root, it belongs to whom its directory belongs.
#[allow(clippy::disallowed_methods, reason = "the directory's file is the server's own")]
fn create(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let (ours, wanted) = (file.metadata()?, parent.metadata()?);
            if ours.uid() == 0 && wanted.uid() != 0 {
                std::os::unix::fs::fchown(&file, Some(wanted.uid()), Some(wanted.gid()))?;
            }
            Ok(())
        }
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::super::statement::values;
    use super::super::{quota, routes, verbs};
    use super::*;
    use rusqlite::StatementStatus;

    /// What every login and delivery asks.
    #[test]
    fn no_statement_is_prepared_twice() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = File::open(&folder.path().join("directory")).unwrap();
        for sql in [verbs::found_by(), routes::found_by(), quota::QUOTA.to_owned()] {
            for _ in 0..3 {
                file.read(|db| db.rows(&sql, values!["ada", "example.org"])).unwrap();
            }
            let connection = file.connection.lock();
            let statement = connection.prepare_cached(&sql).unwrap();
            assert_eq!(statement.get_status(StatementStatus::Run), 3, "{sql}");
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }
}
