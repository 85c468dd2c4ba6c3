//! Connections to PostgreSQL: the first host that answers, by TCP or a unix socket, with TLS by rustls.

use crate::sql::{Host, Server};
use bytes::{BufMut as _, BytesMut};
use rustls_pki_types::ServerName;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Client;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, NoTls, TlsConnect, TlsStream};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

/// Where the servers are and how they are spoken to.
pub struct Connector {
    /// As configured.
    pub server: Server,
    tls: Option<MakeTls>,
    attributes: TargetSessionAttrs,
}

impl Connector {
    /// To any of the servers that answers.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(server: Server) -> Result<Self, String> {
        let tls = server.tls.then(|| crate::tls::client(&server.authorities)).transpose()?;
        let tls = tls.map(|config| MakeTls(tokio_rustls::TlsConnector::from(config)));
        Ok(Self { server, tls, attributes: TargetSessionAttrs::Any })
    }

    /// To the first that takes changes: not to a standby.
    pub fn writable(self) -> Self {
        Self { attributes: TargetSessionAttrs::ReadWrite, ..self }
    }

    /// To the first host that answers. Belongs to the runtime in which it is called.
    ///
    /// # Errors
    /// What each of them said.
    pub async fn connect(&self) -> Result<Client, String> {
        let mut failed = Vec::new();
        for host in &self.server.hosts {
            let tried = tokio::time::timeout(self.server.connect_timeout, self.connect_to(host)).await;
            match tried {
                Ok(Ok(client)) => return Ok(client),
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
        config.target_session_attrs(self.attributes);
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

/// The answer did not come.
pub fn late(limit: Duration) -> String {
    format!("no answer within query_timeout ({limit:?}): is the server overloaded, or is an index missing?")
}

/// Why a statement was not done.
pub enum Failed {
    /// The server refused it.
    Query(String),
    /// The connection is of no use any more.
    Connection(String),
}

impl From<tokio_postgres::Error> for Failed {
    fn from(why: tokio_postgres::Error) -> Self {
        match why.as_db_error() {
            // 57P01 and its like: the server is being shut down. 25P03: nothing was said for too long. 25006: it has become a
            // standby, and another one takes changes now.
            Some(db)
                if db.code().code().starts_with("57P") || ["25P03", "25006"].contains(&db.code().code()) =>
            {
                Self::Connection(told(&why))
            }
            Some(_) => Self::Query(told(&why)),
            None if why.is_closed() => Self::Connection(why.to_string()),
            None => Self::Connection(told(&why)),
        }
    }
}

/// With the server's words.
pub fn told(why: &tokio_postgres::Error) -> String {
    match (why.as_db_error(), why.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{why}: {source}"),
        (None, None) => why.to_string(),
    }
}

/// A host for messages.
pub fn shown(host: &Host) -> String {
    match host {
        Host::Tcp(name, port) => format!("{name}:{port}"),
        Host::Unix(path) => path.display().to_string(),
    }
}

/// A parameter in the form in which a person would write it, whatever type the server wants.
#[derive(Debug)]
pub struct AsText<'a>(pub &'a str);

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
