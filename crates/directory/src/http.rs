//! One question by HTTP/1.1, with TLS for `https`. A connection for each; redirections are not followed.
//!
//! Whoever asks by HTTP asks here: providers of tokens, the policy service, the hooks of quotas.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

/// The longest answer that is read.
const LONGEST: usize = 64 * 1024;

/// Questions at once; more of them wait.
const AT_ONCE: usize = 64;

/// What is told to a program of the administrator's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Post<'a> {
    /// What is put behind path and query.
    pub more: &'a str,
    /// A header that the service wants, `Name: value`; a text without a colon is the value of `X-API-Key`. May be empty.
    pub header: &'a str,
    /// The body.
    pub json: String,
}

/// Where questions go.
pub struct Endpoint {
    host: String,
    port: u16,
    /// Path and query.
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    room: Semaphore,
    agent: &'static str,
    ca_setting: &'static str,
}

impl Endpoint {
    /// The one at this address. Nothing is connected yet.
    ///
    /// # Errors
    /// When it is no address of HTTP, or the authorities cannot be read.
    pub fn new(url: &str, authorities: &Path, timeout: Duration) -> Result<Self, String> {
        let bad =
            || format!("{url:?} is no address of HTTP: write it like https://host.example.org:8443/path");
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let host = uri.host().ok_or_else(bad)?.to_owned();
        let bare = host.trim_matches(['[', ']']).to_owned();
        let (port, tls) = match uri.scheme_str() {
            Some("http") => (80, None),
            Some("https") => {
                let name = ServerName::try_from(bare).map_err(|_| bad())?;
                (443, Some((TlsConnector::from(crate::tls::client(authorities)?), name)))
            }
            _ => return Err(bad()),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let (port, room) = (uri.port_u16().unwrap_or(port), Semaphore::new(AT_ONCE));
        Ok(Self { host, port, path, tls, timeout, room, agent: "culver", ca_setting: "ca_file" })
    }

    /// Who asks, and the setting that has the authorities, for what goes wrong.
    #[must_use]
    pub fn named(mut self, agent: &'static str, ca_setting: &'static str) -> Self {
        (self.agent, self.ca_setting) = (agent, ca_setting);
        self
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A request to it, with `more` behind its path and query.
    pub fn request(&self, method: &str, more: &str) -> hyper::http::request::Builder {
        let host = format!("{}:{}", self.host, self.port);
        Request::builder()
            .method(method)
            .uri(format!("{}{more}", self.path))
            .header("Host", host)
            .header("User-Agent", self.agent)
            .header("Accept", "application/json")
            .header("Connection", "close")
    }

    /// The answer.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        let asked = async {
            let _room = self.room.acquire().await.map_err(|why| why.to_string())?;
            let host = self.host.trim_matches(['[', ']']);
            let tcp = TcpStream::connect((host, self.port)).await.map_err(|why| why.to_string())?;
            let _ = tcp.set_nodelay(true);
            match &self.tls {
                None => exchange(tcp, request).await,
                Some((tls, name)) => {
                    let tls = tls.connect(name.clone(), tcp).await;
                    exchange(
                        tls.map_err(|why| format!("TLS: {why}: is {} right?", self.ca_setting))?,
                        request,
                    )
                    .await
                }
            }
        };
        let answer = tokio::time::timeout(self.timeout, asked).await;
        answer.map_err(|_| format!("no answer within {:?}", self.timeout))?
    }

    /// Sends it; gives the body of the answer.
    ///
    /// # Errors
    /// When there is no answer in time, or one that is anything but success.
    pub async fn post(&self, post: Post<'_>) -> Result<Bytes, String> {
        let mut request = self.request("POST", post.more).header("Content-Type", "application/json");
        let header = post.header.trim();
        if let Some((name, value)) = header.split_once(':') {
            request = request.header(name.trim(), value.trim());
        } else if !header.is_empty() {
            request = request.header("X-API-Key", header);
        }
        let request = request.body(post.json.into_bytes().into()).map_err(|why| why.to_string())?;
        match self.ask(request).await? {
            (status, body) if status.is_success() => Ok(body),
            (status, _) => Err(format!("it answers {status}")),
        }
    }
}

/// One request and its answer over a connection that has just been made.
///
/// # Errors
/// When there is no answer, or one of more than 64 KiB.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), String> {
    let told = |why: hyper::Error| why.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(told)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        Ok((status, body.map_err(|why| why.to_string())?.to_bytes()))
    };
    // The connection moves only while it is looked at.
    let (mut connection, mut answer) = (std::pin::pin!(connection), std::pin::pin!(answer));
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(why) => Err(why.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let second = Duration::from_secs(1);
        let place = |url: &str| {
            let endpoint = Endpoint::new(url, Path::new(""), second).ok()?;
            Some((endpoint.host, endpoint.port, endpoint.path, endpoint.tls.is_some()))
        };
        let is = |host: &str, port, path: &str, tls| Some((host.to_owned(), port, path.to_owned(), tls));
        assert_eq!(place("http://localhost:4001/"), is("localhost", 4001, "/", false));
        assert_eq!(place("http://[::1]:4001/?a=b&"), is("[::1]", 4001, "/?a=b&", false));
        assert_eq!(place("http://policy"), is("policy", 80, "/", false));
        for bad in ["", "localhost:4001", "http://", "ftp://x/", "https:///", "https://"] {
            assert_eq!(place(bad), None, "{bad}");
        }
        if Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
            assert_eq!(place("https://policy/x"), is("policy", 443, "/x", true));
            assert_eq!(place("https://[::1]:4001/"), is("[::1]", 4001, "/", true));
        }
        // What cannot be read is told now and not at the first login.
        let missing = Endpoint::new("https://policy/", Path::new("/nowhere/ca.pem"), second).err();
        assert!(missing.unwrap().contains("/nowhere/ca.pem"));
        assert!(Endpoint::new("http://policy/", Path::new("/nowhere/ca.pem"), second).is_ok());
    }
}
