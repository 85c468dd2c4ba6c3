//! The file's tables, and how it is opened.

use super::Problem;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// What made each version of the file out of the one before; `user_version` counts how many were done.
const STEPS: [&str; 5] = [
    "CREATE TABLE domain (
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
    PRAGMA user_version = 1;",
    // A switch that is on has no row; `disabled` of version 1 is read no more.
    "CREATE TABLE switch (
        local TEXT NOT NULL,
        domain TEXT NOT NULL,
        what TEXT NOT NULL CHECK (what IN ('login', 'receive', 'send')),
        reason TEXT NOT NULL,
        since INTEGER NOT NULL,
        PRIMARY KEY (domain, local, what),
        FOREIGN KEY (domain, local) REFERENCES account(domain, local) ON DELETE CASCADE
    ) STRICT;
    INSERT INTO switch SELECT local, domain, 'login', disabled, unixepoch() FROM account WHERE disabled IS NOT NULL;
    ALTER TABLE account ADD COLUMN quota_storage INTEGER;
    ALTER TABLE account ADD COLUMN quota_messages INTEGER;
    PRAGMA user_version = 2;",
    // An empty local part is the catch-all. A route refuses mail with the text of `reject`, or has targets.
    "CREATE TABLE route (
        local TEXT NOT NULL,
        domain TEXT NOT NULL REFERENCES domain(name) ON UPDATE CASCADE,
        reject TEXT,
        off_reason TEXT,
        off_since INTEGER,
        PRIMARY KEY (domain, local)
    ) STRICT;
    CREATE TABLE route_target (
        local TEXT NOT NULL,
        domain TEXT NOT NULL,
        position INTEGER NOT NULL,
        address TEXT NOT NULL,
        PRIMARY KEY (domain, local, position),
        FOREIGN KEY (domain, local) REFERENCES route(domain, local) ON DELETE CASCADE ON UPDATE CASCADE
    ) STRICT;
    PRAGMA user_version = 3;",
    // `scram` has a line for each way to type the password; `salted` is the iterations and the salt of all of them.
    "CREATE TABLE app_password (
        local TEXT NOT NULL,
        domain TEXT NOT NULL,
        device TEXT NOT NULL,
        password TEXT NOT NULL,
        scram TEXT NOT NULL,
        salted TEXT NOT NULL,
        services TEXT NOT NULL,
        created INTEGER NOT NULL,
        used INTEGER,
        address TEXT,
        PRIMARY KEY (domain, local, device),
        FOREIGN KEY (domain, local) REFERENCES account(domain, local) ON DELETE CASCADE
    ) STRICT;
    CREATE TABLE master (
        local TEXT NOT NULL,
        domain TEXT NOT NULL,
        PRIMARY KEY (domain, local),
        FOREIGN KEY (domain, local) REFERENCES account(domain, local) ON DELETE CASCADE
    ) STRICT;
    PRAGMA user_version = 4;",
    // `quota_limit` has accounts (user@domain) and domains; `quota_state` accounts of any source.
    "CREATE TABLE quota_limit (
        name TEXT PRIMARY KEY NOT NULL,
        storage INTEGER,
        messages INTEGER,
        message_size INTEGER,
        mailboxes INTEGER,
        language TEXT
    ) STRICT;
    CREATE TABLE quota_state (
        name TEXT PRIMARY KEY NOT NULL,
        state TEXT NOT NULL DEFAULT 'within',
        percent INTEGER NOT NULL DEFAULT 0,
        since INTEGER NOT NULL DEFAULT 0,
        switched INTEGER NOT NULL DEFAULT 0,
        pending TEXT NOT NULL DEFAULT '',
        storage INTEGER NOT NULL DEFAULT 0,
        messages INTEGER NOT NULL DEFAULT 0,
        seen INTEGER NOT NULL DEFAULT 0,
        checked INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    PRAGMA user_version = 5;",
];

pub fn open(path: &Path) -> Result<Connection, Problem> {
    let failed = |why: &dyn ToString| Problem::Database { path: path.to_owned(), why: why.to_string() };
    create(path).map_err(|e| failed(&e))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|e| failed(&e))?;
    let version = prepare(&mut connection).map_err(|e| failed(&e))?;
    if version > STEPS.len() {
        return Err(failed(&format!(
            "version {version} is later than this program's {}; use the newer program",
            STEPS.len()
        )));
    }
    Ok(connection)
}

/// Brings a file of any earlier version up to date; gives the version that it has then.
fn prepare(connection: &mut Connection) -> rusqlite::Result<usize> {
    let version = |connection: &Connection| {
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        // A negative one is nobody's: too late a version for us.
        Ok::<_, rusqlite::Error>(usize::try_from(found).unwrap_or(usize::MAX))
    };
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Without a lock for writing when nothing is to be written.
    let found = version(connection)?;
    if found >= STEPS.len() {
        return Ok(found);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Somebody else may have been faster.
    let found = version(&transaction)?;
    for step in STEPS.iter().skip(found) {
        transaction.execute_batch(step)?;
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
