//! PostgreSQL.

use super::{Database, Host, Query, Row, Server};
use crate::pool::{Lent, Pool};
use async_trait::async_trait;
use bytes::{BufMut as _, BytesMut};
use futures_util::StreamExt as _;
use rustls_pki_types::ServerName;
use std::collections::HashMap;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, NoTls, TlsConnect, TlsStream};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

pub struct PostgreSql {
    server: Server,
    tls: Option<MakeTls>,
    pool: Pool<Connection>,
}

struct Connection {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl PostgreSql {
    pub fn new(server: Server) -> Result<Self, String> {
        let tls = server.tls.then(|| crate::tls::client(&server.authorities)).transpose()?;
        let tls = tls.map(|config| MakeTls(tokio_rustls::TlsConnector::from(config)));
        Ok(Self { pool: Pool::new(server.connections), server, tls })
    }

    async fn connection(&self) -> Result<Lent<Connection>, String> {
        let alive = |connection: &mut Connection| !connection.client.is_closed();
        self.pool.get(self.server.query_timeout, alive, async || self.connect().await).await
    }

    /// To the first host that answers.
    async fn connect(&self) -> Result<Connection, String> {
        let mut failed = Vec::new();
        for host in &self.server.hosts {
            let tried = tokio::time::timeout(self.server.connect_timeout, self.connect_to(host)).await;
            match tried {
                Ok(Ok(client)) => return Ok(Connection { client, statements: HashMap::new() }),
                Ok(Err(why)) => failed.push(format!("{}: {}", shown(host), told(&why))),
                Err(_) => failed.push(format!("{}: no connection within connect_timeout", shown(host))),
            }
        }
        Err(format!(
            "PostgreSQL cannot be reached ({}): is it running, and are hosts, user, password, tls and ca_file right?",
            failed.join("; ")
        ))
    }

    async fn connect_to(&self, host: &Host) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.user(&self.server.user).application_name("culver");
        config.connect_timeout(self.server.connect_timeout);
        if !self.server.password.is_empty() {
            config.password(&self.server.password);
        }
        if !self.server.database.is_empty() {
            config.dbname(&self.server.database);
        }
        match host {
            Host::Tcp(name, port) => config.host(name).port(*port),
            // `/run/postgresql`, or with a port as libpq names the socket: `/run/postgresql/.s.PGSQL.5433`.
            Host::Unix(path) => {
                let file = path.file_name().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
                match (file.strip_prefix(".s.PGSQL.").and_then(|port| port.parse().ok()), path.parent()) {
                    (Some(port), Some(folder)) => config.host_path(folder).port(port),
                    _ => config.host_path(path),
                }
            }
        };
        match (&self.tls, host) {
            (Some(tls), Host::Tcp(..)) => {
                let (client, connection) = config.ssl_mode(SslMode::Require).connect(tls.clone()).await?;
                drive(connection);
                Ok(client)
            }
            _ => {
                let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
                drive(connection);
                Ok(client)
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "it ends with the last handle of its connection")]
fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) {
    // How it ended hears whoever asks next.
    tokio::spawn(async move { drop(connection.await) });
}

#[async_trait]
impl Database for PostgreSql {
    async fn rows(&self, query: &Query, values: Vec<String>, most: usize) -> Result<Vec<Row>, String> {
        let mut again = true;
        loop {
            let mut lent = self.connection().await?;
            let asked = ask(&mut lent, query, &values, most);
            let answer = tokio::time::timeout(self.server.query_timeout, asked).await;
            match answer {
                Ok(Ok(rows)) => {
                    self.pool.give_back(lent);
                    return Ok(rows);
                }
                // The connection is sound, the query is not.
                Ok(Err(Failed::Query(why))) => {
                    self.pool.give_back(lent);
                    return Err(why);
                }
                Ok(Err(Failed::Connection(why))) => {
                    // The server was restarted: all that are idle are broken.
                    self.pool.clear();
                    if !lent.used || !again {
                        return Err(format!("PostgreSQL hung up: {why}"));
                    }
                    again = false;
                }
                Err(_) => return Err(late(self.server.query_timeout)),
            }
        }
    }
}

pub(super) fn late(limit: Duration) -> String {
    format!("no answer within query_timeout ({limit:?}): is the server overloaded, or is an index missing?")
}

enum Failed {
    Query(String),
    Connection(String),
}

impl From<tokio_postgres::Error> for Failed {
    fn from(why: tokio_postgres::Error) -> Self {
        match why.as_db_error() {
            // 57P01 and its like: the server is being shut down.
            Some(db) if db.code().code().starts_with("57P") => Self::Connection(db.message().to_owned()),
            Some(_) => Self::Query(told(&why)),
            None if why.is_closed() => Self::Connection(why.to_string()),
            None => Self::Connection(told(&why)),
        }
    }
}

/// With the server's words.
fn told(why: &tokio_postgres::Error) -> String {
    match (why.as_db_error(), why.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{why}: {source}"),
        (None, None) => why.to_string(),
    }
}

fn shown(host: &Host) -> String {
    match host {
        Host::Tcp(name, port) => format!("{name}:{port}"),
        Host::Unix(path) => path.display().to_string(),
    }
}

async fn ask(
    connection: &mut Connection,
    query: &Query,
    values: &[String],
    most: usize,
) -> Result<Vec<Row>, Failed> {
    let statement = match connection.statements.get(&query.text) {
        Some(statement) => statement.clone(),
        None => {
            let statement = connection.client.prepare(&query.text).await?;
            connection.statements.insert(query.text.clone(), statement.clone());
            statement
        }
    };
    let values: Vec<AsText<'_>> = values.iter().map(|value| AsText(value)).collect();
    let parameters = values.iter().map(|value| value as &(dyn ToSql + Sync));
    let stream = connection.client.query_raw(&statement, parameters).await?;
    let mut stream = std::pin::pin!(stream);
    let mut rows = Vec::new();
    while let Some(row) = stream.next().await {
        let row = row?;
        let mut columns = Row::new();
        for (index, column) in row.columns().iter().enumerate() {
            let value = text(&row, index, column.type_()).map_err(|why| {
                Failed::Query(format!("column {}: {why}: write {}::text", column.name(), column.name()))
            })?;
            columns.extend(value.map(|value| (column.name().to_owned(), value)));
        }
        rows.push(columns);
        if rows.len() >= most {
            break;
        }
    }
    Ok(rows)
}

fn text(row: &tokio_postgres::Row, index: usize, kind: &Type) -> Result<Option<String>, String> {
    fn of<'a, T: tokio_postgres::types::FromSql<'a> + ToString>(
        row: &'a tokio_postgres::Row,
        index: usize,
    ) -> Result<Option<String>, String> {
        let value: Option<T> = row.try_get(index).map_err(|why| why.to_string())?;
        Ok(value.map(|value| value.to_string()))
    }
    match *kind {
        Type::BOOL => {
            let value: Option<bool> = row.try_get(index).map_err(|why| why.to_string())?;
            Ok(value.map(|value| if value { "yes".to_owned() } else { "no".to_owned() }))
        }
        Type::INT2 => of::<i16>(row, index),
        Type::INT4 => of::<i32>(row, index),
        Type::INT8 => of::<i64>(row, index),
        Type::OID => of::<u32>(row, index),
        _ if <String as tokio_postgres::types::FromSql<'_>>::accepts(kind) => of::<String>(row, index),
        _ => Err(format!("values of type {kind} cannot be read")),
    }
}

/// A parameter in the form in which a person would write it, whatever type the server wants.
#[derive(Debug)]
struct AsText<'a>(&'a str);

impl ToSql for AsText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
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

/// TLS by rustls.
#[derive(Clone)]
struct MakeTls(tokio_rustls::TlsConnector);

struct Connect(tokio_rustls::TlsConnector, ServerName<'static>);

struct Encrypted<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for MakeTls {
    type Stream = Encrypted<S>;
    type TlsConnect = Connect;
    type Error = Box<dyn Error + Sync + Send>;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Connect, Self::Error> {
        Ok(Connect(self.0.clone(), ServerName::try_from(domain.to_owned())?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Connect {
    type Stream = Encrypted<S>;
    type Error = Box<dyn Error + Sync + Send>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { Ok(Encrypted(Box::new(self.0.connect(self.1, stream).await?))) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
