//! Where a built-in directory can be: a file, or a PostgreSQL that is really there.

#![allow(dead_code, reason = "each program uses a part of it")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it did not run, and fails by panic"
)]

use culver_directory::Defaults;
use culver_directory::builtin::Builtin;
use culver_directory::sql::{Host, Server};
use culver_testkit::servers;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// An empty directory.
pub enum Place {
    /// In a file.
    File(tempfile::TempDir),
    /// In a database.
    Server(Server),
}

impl Place {
    pub fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    /// As another process would.
    pub fn open(&self) -> Builtin {
        match self {
            Self::File(folder) => {
                Builtin::open(&folder.path().join("directory.sqlite"), Defaults::default()).unwrap()
            }
            Self::Server(server) => Builtin::on_postgresql(server.clone(), Defaults::default()).unwrap(),
        }
    }
}

/// A server with as many empty directories as are asked for.
pub struct PostgreSql {
    pub server: servers::Server,
    made: AtomicU32,
}

impl PostgreSql {
    /// `None`: not installed, and the output says so.
    pub fn start() -> Option<Self> {
        let Some(server) = servers::postgres().unwrap() else {
            println!("not run: PostgreSQL is missing");
            return None;
        };
        Some(Self { server, made: AtomicU32::new(0) })
    }

    pub fn settings(&self, database: &str) -> Server {
        let socket = self.server.socket.join(format!(".s.PGSQL.{}", self.server.port));
        Server {
            hosts: vec![Host::Unix(socket)],
            database: database.to_owned(),
            user: "postgres".to_owned(),
            password: String::new(),
            tls: false,
            authorities: PathBuf::new(),
            connections: 4,
            connect_timeout: Duration::from_secs(5),
            query_timeout: Duration::from_secs(20),
        }
    }

    pub fn place(&self) -> Place {
        let name = format!("d{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.server.psql(&format!("CREATE DATABASE {name}")).unwrap();
        Place::Server(self.settings(&name))
    }
}
