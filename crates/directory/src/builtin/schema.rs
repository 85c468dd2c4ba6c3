//! The tables, the same in both databases.

/// The version of the tables; a later program may raise it.
pub const VERSION: i64 = 6;

/// What makes them, in SQLite's words. [`for_postgresql`] says them again in the other database's.
///
/// New names of accounts and domains reach everything that refers to them by itself (`ON UPDATE CASCADE`).
pub const TABLES: &str = "
    CREATE TABLE revision (
        n INTEGER NOT NULL
    ) STRICT;
    INSERT INTO revision (n) VALUES (0);

    CREATE TABLE domain (
        name TEXT PRIMARY KEY NOT NULL
    ) STRICT;
    CREATE TABLE domain_alias (
        name TEXT PRIMARY KEY NOT NULL,
        domain TEXT NOT NULL REFERENCES domain(name) ON DELETE CASCADE ON UPDATE CASCADE
    ) STRICT;

    CREATE TABLE account (
        local TEXT NOT NULL,
        domain TEXT NOT NULL REFERENCES domain(name) ON UPDATE CASCADE,
        password TEXT,
        home TEXT,
        mail TEXT,
        uid INTEGER,
        gid INTEGER,
        quota_storage INTEGER,
        quota_messages INTEGER,
        PRIMARY KEY (domain, local)
    ) STRICT;

    -- A switch that is on has no row.
    CREATE TABLE switch (
        local TEXT NOT NULL,
        domain TEXT NOT NULL,
        what TEXT NOT NULL CHECK (what IN ('login', 'receive', 'send')),
        reason TEXT NOT NULL,
        since INTEGER NOT NULL,
        PRIMARY KEY (domain, local, what),
        FOREIGN KEY (domain, local) REFERENCES account(domain, local) ON DELETE CASCADE ON UPDATE CASCADE
    ) STRICT;

    -- An empty local part is the catch-all. A route refuses mail with the text of reject, or has targets.
    CREATE TABLE route (
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

    -- scram has a line for each way to type the password; salted is the iterations and the salt of all of them.
    CREATE TABLE app_password (
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
        FOREIGN KEY (domain, local) REFERENCES account(domain, local) ON DELETE CASCADE ON UPDATE CASCADE
    ) STRICT;
    CREATE TABLE master (
        local TEXT NOT NULL,
        domain TEXT NOT NULL,
        PRIMARY KEY (domain, local),
        FOREIGN KEY (domain, local) REFERENCES account(domain, local) ON DELETE CASCADE ON UPDATE CASCADE
    ) STRICT;

    -- quota_limit has accounts (user@domain) and domains; quota_state accounts of any source.
    CREATE TABLE quota_limit (
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
        telling INTEGER NOT NULL DEFAULT 0,
        storage INTEGER NOT NULL DEFAULT 0,
        messages INTEGER NOT NULL DEFAULT 0,
        seen INTEGER NOT NULL DEFAULT 0,
        checked INTEGER NOT NULL DEFAULT 0
    ) STRICT;";

/// Numbers of 64 bits, and texts that are sorted octet by octet whatever the locale of the server is.
pub fn for_postgresql() -> String {
    TABLES.replace(") STRICT;", ");").replace(" INTEGER", " BIGINT").replace(" TEXT", " TEXT COLLATE \"C\"")
}
