//! Programs of the administrator's that are told something by JSON over HTTP: an address, and one POST to it.
//!
//! In the clear, HTTP/1.1, a connection for each request: such a service stands on the same machine, or behind a proxy that
//! has TLS. How long it may take is for the caller to say.

use culver_directory::http::exchange;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Uri};
use tokio::net::TcpStream;

/// Where a service is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    host: String,
    port: u16,
    path: String,
}

/// What is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Post<'a> {
    /// Path and query.
    pub target: &'a str,
    /// Who asks.
    pub agent: &'static str,
    /// A header that the service wants, `Name: value`; a text without a colon is the value of `X-API-Key`. May be empty.
    pub header: &'a str,
    /// The body.
    pub json: String,
}

impl Endpoint {
    /// From `http://localhost:4001/path`; `None` for anything else.
    pub fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http"))?.to_owned();
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        Some(Self { host, port: uri.port_u16().unwrap_or(80), path })
    }

    /// Path and query of the address.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Sends it; gives the body of the answer.
    ///
    /// # Errors
    /// When the service cannot be reached or answers with anything but success; the text says why.
    pub async fn post(&self, post: Post<'_>) -> Result<Bytes, String> {
        let host = self.host.trim_matches(['[', ']']);
        let tcp = TcpStream::connect((host, self.port)).await.map_err(|e| e.to_string())?;
        let _ = tcp.set_nodelay(true);
        let mut request = Request::post(post.target)
            .header("Host", format!("{}:{}", self.host, self.port))
            .header("User-Agent", post.agent)
            .header("Content-Type", "application/json")
            .header("Connection", "close");
        let header = post.header.trim();
        if let Some((name, value)) = header.split_once(':') {
            request = request.header(name.trim(), value.trim());
        } else if !header.is_empty() {
            request = request.header("X-API-Key", header);
        }
        let request = request.body(Full::new(Bytes::from(post.json))).map_err(|e| e.to_string())?;
        match exchange(tcp, request).await? {
            (status, body) if status.is_success() => Ok(body),
            (status, _) => Err(format!("it answers {status}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let place = |url: &str| Endpoint::parse(url).map(|e| (e.host, e.port, e.path));
        let is = |host: &str, port, path: &str| Some((host.to_owned(), port, path.to_owned()));
        assert_eq!(place("http://localhost:4001/"), is("localhost", 4001, "/"));
        assert_eq!(place("http://[::1]:4001/?a=b&"), is("[::1]", 4001, "/?a=b&"));
        assert_eq!(place("http://policy"), is("policy", 80, "/"));
        for bad in ["", "localhost:4001", "https://localhost/", "http://", "ftp://x/"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
