//! The file's tables, and how it is opened.

use super::Problem;
use rusqlite::{Connection, OpenFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// `user_version` of the file.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE domain (
        name TEXT PRIMARY KEY NOT NULL
    ) STRICT;
    CREATE TABLE domain_alias (
        name TEXT PRIMARY KEY NOT NULL,
        domain TEXT NOT NULL REFERENCES domain(name) ON DELETE CASCADE
    ) STRICT;
    CREATE TABLE account (
        local TEXT NOT NULL,
        domain TEXT NOT NULL REFERENCES domain(name),
        password TEXT,
        home TEXT,
        mail TEXT,
        uid INTEGER,
        gid INTEGER,
        disabled TEXT,
        PRIMARY KEY (domain, local)
    ) STRICT;
    PRAGMA user_version = 1;
";

pub fn open(path: &Path) -> Result<Connection, Problem> {
    let failed = |why: &dyn ToString| Problem::Database { path: path.to_owned(), why: why.to_string() };
    create(path).map_err(|e| failed(&e))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|e| failed(&e))?;
    let prepared = (|| {
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            transaction.execute_batch(TABLES)?;
        }
        transaction.commit()?;
        Ok::<_, rusqlite::Error>(version)
    })();
    match prepared.map_err(|e| failed(&e))? {
        0 | VERSION => Ok(connection),
        later => Err(failed(&format!(
            "version {later} is later than this program's {VERSION}; use the newer program"
        ))),
    }
}

/// Makes the file so that only its owner reads it. Made by root, it belongs to whom its directory belongs.
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
