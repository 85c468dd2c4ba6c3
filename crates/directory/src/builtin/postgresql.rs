//! The directory in PostgreSQL, for several machines: connections, transactions, and how the tables come to be.
//!
//! Verbs are the same as on the file, so they wait for each statement; a thread of its own drives the connections, and whoever
//! asks may be anywhere, within a runtime or without. A transaction that writes holds one lock of the whole directory
//! (`pg_advisory_xact_lock`), as one that writes SQLite's file does: what two machines do at once happens in some order, and no
//! verb has to expect another one in its midst. A machine that falls silent with the lock loses it after ten seconds.
//!
//! A connection that broke while nobody used it is replaced without a word. One that breaks in the midst of a change is told:
//! the server may have kept the change or not.

use super::schema::{VERSION, for_postgresql};
use super::statement::{Db, Error, Failed, Row, Value};
use crate::pool::{Lent, Pool};
use crate::postgresql::{Connector, Failed as Refusal, late};
use crate::sql::Server as Settings;
use bytes::{BufMut as _, BytesMut};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

/// Who writes holds this lock; the number says `culver` in ASCII.
const LOCK: i64 = 0x6375_6c76_6572;

/// Who waits for it gives up after this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server.
pub struct Server {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    connector: Connector,
    pool: Pool<Connection>,
    /// Are the tables known to be there?
    made: AtomicBool,
}

struct Connection {
    client: Arc<Client>,
    statements: Arc<Mutex<HashMap<String, Statement>>>,
}

/// A connection while somebody uses it.
pub struct Session {
    client: Arc<Client>,
    statements: Arc<Mutex<HashMap<String, Statement>>>,
    handle: Handle,
    limit: Duration,
}

impl Server {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When the authorities cannot be read or no thread can be started.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let pool = Pool::new(settings.connections);
        let connector = Connector::new(settings)?.writable();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("directory").enable_all().build();
        let runtime = runtime.map_err(|why| format!("a thread for the database cannot be started: {why}"))?;
        let shared = Arc::new(Shared { connector, pool, made: AtomicBool::new(false) });
        Ok(Self { shared, runtime: Some(runtime) })
    }

    /// Where it is, for messages.
    pub fn place(&self) -> String {
        let settings = &self.shared.connector.server;
        let hosts = settings.hosts.iter().map(crate::postgresql::shown).collect::<Vec<_>>();
        format!("PostgreSQL at {}", hosts.join(", "))
    }

    /// Does something that may block, with nobody waiting for it.
    pub fn aside(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn_blocking(work);
        }
    }

    fn handle(&self) -> Result<Handle, Error> {
        let gone = || Error::Broken("the program is ending".to_owned());
        self.runtime.as_ref().map(|runtime| runtime.handle().clone()).ok_or_else(gone)
    }

    fn lend(&self) -> Result<(Lent<Connection>, Session), Error> {
        let (handle, shared) = (self.handle()?, self.shared.clone());
        let limit = shared.connector.server.query_timeout;
        let lent = wait(&handle, async move {
            let alive = |connection: &mut Connection| !connection.client.is_closed();
            let lent = shared.pool.get(limit, alive, async || shared.connect().await).await;
            lent.map_err(Error::Broken)
        })?;
        let (client, statements) = (lent.client.clone(), lent.statements.clone());
        Ok((lent, Session { client, statements, handle, limit }))
    }

    /// Reads, each statement by itself. What breaks on a connection that lay idle is read again on a new one.
    pub fn read<T>(&self, work: impl Fn(&Db<'_>) -> Result<T, Error>) -> Result<T, Error> {
        loop {
            let (lent, session) = self.lend()?;
            match work(&Db::PostgreSql(&session)) {
                Err(Error::Broken(_)) if lent.used => self.shared.pool.clear(),
                Err(why @ (Error::Broken(_) | Error::Late(_))) => return Err(why),
                done => {
                    self.shared.pool.give_back(lent);
                    return done;
                }
            }
        }
    }

    /// One transaction that writes, with the lock.
    pub fn write<T>(&self, work: impl FnOnce(&Db<'_>) -> Result<T, Failed>) -> Result<T, Failed> {
        let (lent, session) = self.begin()?;
        match work(&Db::PostgreSql(&session)) {
            Ok(done) => {
                session.batch("COMMIT").map_err(|why| match why {
                    Error::Broken(why) | Error::Late(why) => Error::Broken(format!(
                        "the connection broke while the change was being stored ({why}): look whether it was made"
                    )),
                    said => said,
                })?;
                self.shared.pool.give_back(lent);
                Ok(done)
            }
            Err(failed) => {
                if session.batch("ROLLBACK").is_ok() {
                    self.shared.pool.give_back(lent);
                }
                Err(failed)
            }
        }
    }

    fn begin(&self) -> Result<(Lent<Connection>, Session), Error> {
        loop {
            let (lent, session) = self.lend()?;
            // Less than the statement may last, so that the words are about the lock.
            let patience = PATIENCE.min(session.limit * 9 / 10).as_millis();
            let begin =
                format!("BEGIN; SET LOCAL lock_timeout = {patience}; SELECT pg_advisory_xact_lock({LOCK})");
            match session.batch(&begin) {
                Ok(()) => return Ok((lent, session)),
                // Whoever is here again has a new one.
                Err(Error::Broken(_)) if lent.used => self.shared.pool.clear(),
                // The transaction is aborted, and the connection is dropped with it.
                Err(Error::Said(why)) if why.contains("55P03") => {
                    let hint = "somebody else has been changing accounts for too long: see pg_stat_activity";
                    return Err(Error::Said(format!("{hint} ({why})")));
                }
                Err(why) => return Err(why),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    async fn connect(&self) -> Result<Connection, String> {
        let client = self.connector.connect().await?;
        let limit = self.connector.server.query_timeout;
        let ready = tokio::time::timeout(limit, self.prepare(&client)).await;
        ready.map_err(|_| late(limit))??;
        Ok(Connection { client: Arc::new(client), statements: Arc::default() })
    }

    /// What a new connection needs; the tables, too, when there are none.
    async fn prepare(&self, client: &Client) -> Result<(), String> {
        let told = |why: tokio_postgres::Error| crate::postgresql::told(&why);
        let limit = self.connector.server.query_timeout.as_millis();
        let set = format!(
            "SET search_path = culver; SET statement_timeout = {limit}; SET idle_in_transaction_session_timeout = 10000"
        );
        client.batch_execute(&set).await.map_err(told)?;
        if self.made.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut found = version(client).await?;
        if found.is_none() {
            client
                .batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})"))
                .await
                .map_err(told)?;
            // Somebody else may have been faster.
            if version(client).await?.is_none() {
                let tables = for_postgresql();
                // Who may not make a schema may not even ask for one that is there.
                let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'culver')";
                let there = client.query_one(sql, &[]).await;
                let schema = match there.and_then(|row| row.try_get(0)).map_err(told)? {
                    true => "",
                    false => "CREATE SCHEMA culver;",
                };
                let make = format!(
                    "{schema} CREATE TABLE version (n BIGINT NOT NULL);
                     INSERT INTO version (n) VALUES ({VERSION}); {tables}"
                );
                let failed = |why| {
                    format!(
                        "the tables cannot be made: {}: let the user make a schema (GRANT CREATE ON DATABASE), or make \
                         `culver` yourself and give it to them",
                        told(why)
                    )
                };
                client.batch_execute(&make).await.map_err(failed)?;
            }
            client.batch_execute("COMMIT").await.map_err(told)?;
            found = version(client).await?;
        }
        match found {
            Some(VERSION) => {
                self.made.store(true, Ordering::Relaxed);
                Ok(())
            }
            Some(other) => Err(format!(
                "the tables have version {other}, this program knows {VERSION}: use the program that made them"
            )),
            None => Err("the tables were made and are not there: does somebody remove them?".to_owned()),
        }
    }
}

/// The version of the tables, if there are any.
async fn version(client: &Client) -> Result<Option<i64>, String> {
    let told = |why: tokio_postgres::Error| crate::postgresql::told(&why);
    // Not to_regclass(), which may remember from before the lock that there was none.
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = 'culver' AND tablename = 'version')";
    let there = client.query_one(sql, &[]).await;
    if !there.and_then(|row| row.try_get(0)).map_err(told)? {
        return Ok(None);
    }
    let found = client.query_one("SELECT n FROM culver.version", &[]).await;
    found.and_then(|row| row.try_get(0)).map(Some).map_err(told)
}

impl Session {
    /// Rows that a statement changed.
    pub fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, Error> {
        self.ask(sql, values, async |client, statement, values| {
            let values = values.iter().map(|value| value as &(dyn ToSql + Sync));
            client.execute_raw(&statement, values).await
        })
    }

    /// Rows that it gives.
    pub fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Error> {
        let rows = self.ask(sql, values, async |client, statement, values| {
            let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
            client.query(&statement, &values).await
        })?;
        rows.iter().map(row).collect()
    }

    fn batch(&self, sql: &str) -> Result<(), Error> {
        let (client, sql) = (self.client.clone(), sql.to_owned());
        self.within(async move { Ok(client.batch_execute(&sql).await?) })
    }

    fn ask<T: Send + 'static, F>(
        &self,
        sql: &str,
        values: &[Value],
        asked: impl FnOnce(Arc<Client>, Statement, Vec<Value>) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>> + Send,
    {
        let (client, values) = (self.client.clone(), values.to_vec());
        let known = self.statements.lock().get(sql).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => {
                let (client, text) = (client.clone(), sql.replace('?', "$"));
                let made = self.within(async move { Ok(client.prepare(&text).await?) })?;
                self.statements.lock().insert(sql.to_owned(), made.clone());
                made
            }
        };
        self.within(async move { Ok(asked(client, statement, values).await?) })
    }

    fn within<T: Send + 'static>(
        &self,
        asked: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Error> {
        let limit = self.limit;
        wait(&self.handle, async move {
            match tokio::time::timeout(limit, asked).await {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(Refusal::Query(why))) => Err(Error::Said(why)),
                Ok(Err(Refusal::Connection(why))) => Err(Error::Broken(why)),
                Err(_) => Err(Error::Late(late(limit))),
            }
        })
    }
}

/// Lets the thread of the connections do it, and waits.
fn wait<T: Send + 'static>(
    handle: &Handle,
    asked: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    handle.spawn(async move { drop(tell.send(asked.await)) });
    told.recv().unwrap_or_else(|_| Err(Error::Broken("the program is ending".to_owned())))
}

fn row(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let columns = row.columns().iter().enumerate().map(|(index, column)| {
        let read = match *column.type_() {
            Type::BOOL => row.try_get::<_, Option<bool>>(index).map(Value::from),
            Type::INT4 => row.try_get::<_, Option<i32>>(index).map(|n| Value::from(n.map(i64::from))),
            Type::INT8 => row.try_get::<_, Option<i64>>(index).map(Value::from),
            _ => row.try_get::<_, Option<String>>(index).map(Value::from),
        };
        read.map_err(|why| Error::Said(format!("column {}: {why}", column.name())))
    });
    columns.collect::<Result<_, _>>().map(Row)
}

impl ToSql for Value {
    /// In the form in which a person would write it, whatever type the server wants.
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Number(number) => out.put_slice(number.to_string().as_bytes()),
            Self::Text(text) => out.put_slice(text.as_bytes()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
