//! A file of SQLite, read only, on threads that may block.
//!
//! The file belongs to another program; its tables are not the built-in directory's.

use super::{Database, Host, Query, Row, Server};
use crate::postgresql::late;
use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

pub struct Sqlite {
    path: PathBuf,
    server: Server,
    idle: Arc<Mutex<Vec<Connection>>>,
    room: Arc<Semaphore>,
}

impl Sqlite {
    pub fn new(server: Server) -> Self {
        let path = match server.hosts.first() {
            Some(Host::Unix(path)) => path.clone(),
            _ => PathBuf::new(),
        };
        let room = Arc::new(Semaphore::new(server.connections.max(1) as usize));
        Self { path, server, idle: Arc::default(), room }
    }
}

#[async_trait]
impl Database for Sqlite {
    async fn rows(&self, query: &Query, values: Vec<String>, most: usize) -> Result<Vec<Row>, String> {
        let limit = self.server.query_timeout;
        let permit = tokio::time::timeout(limit, self.room.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| late(limit))?.map_err(|why| why.to_string())?;
        let (idle, path, text) = (self.idle.clone(), self.path.clone(), query.text.clone());
        let shown = path.display().to_string();
        let (tell, told) = tokio::sync::oneshot::channel();
        let asked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let open = idle.lock().pop();
            let connection = match open {
                Some(connection) => connection,
                None => {
                    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                    let connection = Connection::open_with_flags(&path, flags)?;
                    connection.busy_timeout(limit)?;
                    connection
                }
            };
            let _ = tell.send(connection.get_interrupt_handle());
            let rows = ask(&connection, &text, &values, most)?;
            idle.lock().push(connection);
            Ok::<_, rusqlite::Error>(rows)
        });
        let answer = tokio::time::timeout(limit, asked).await;
        if answer.is_err()
            && let Ok(running) = told.await
        {
            running.interrupt();
        }
        let answer = answer.map_err(|_| late(limit))?.map_err(|why| why.to_string())?;
        answer.map_err(|why| format!("{shown}: {why}: check the path, and that the service user may read it"))
    }
}

fn ask(connection: &Connection, text: &str, values: &[String], most: usize) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(text)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut answer = statement.query(params_from_iter(values))?;
    let mut rows = Vec::new();
    while let Some(row) = answer.next()? {
        let mut columns = Row::new();
        for (index, name) in names.iter().enumerate() {
            let value = match row.get_ref(index)? {
                ValueRef::Null => continue,
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => number.to_string(),
                ValueRef::Text(octets) | ValueRef::Blob(octets) => {
                    String::from_utf8_lossy(octets).into_owned()
                }
            };
            columns.push((name.clone(), value));
        }
        rows.push(columns);
        if rows.len() >= most {
            break;
        }
    }
    Ok(rows)
}
