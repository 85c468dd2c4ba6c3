//! One connection's bytes, plain or by TLS.
//!
//! Promises that waiting ([`Stream::readable`]) owns no buffer: a plain connection waits for the socket, a TLS
//! connection for its session, which keeps at most what has been received of an unfinished record.

use crate::proxy::Proxied;
use crate::socket::Socket;
use crate::tls::TlsAcceptor;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// A connection.
pub struct Stream {
    peer: SocketAddr,
    local: SocketAddr,
    /// Did the client come to the proxy before us by TLS?
    tls_before: bool,
    bytes: Bytes,
}

enum Bytes {
    Plain(Socket),
    Tls(Box<Tls>),
}

struct Tls {
    stream: TlsStream<Socket>,
    end_point: Option<Vec<u8>>,
    client: Option<String>,
}

/// What TLS was agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: String,
    /// The name that the client asked for.
    pub server_name: Option<String>,
}

/// What ties a SASL exchange to its TLS connection (RFC 5056), for SCRAM-PLUS.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChannelBinding {
    /// `tls-exporter` (RFC 9266). Only TLS 1.3: 1.2 would need the extended master secret, of which nothing is known.
    pub tls_exporter: Option<Vec<u8>>,
    /// `tls-server-end-point` (RFC 5929 §4): the hash of our certificate.
    pub tls_server_end_point: Option<Vec<u8>>,
}

impl Stream {
    /// A connection that was just accepted, with peer and own address.
    pub(crate) fn plain(
        socket: Socket,
        addresses: (SocketAddr, SocketAddr),
        proxied: Option<Proxied>,
    ) -> Self {
        let told = proxied.and_then(|p| p.addresses);
        let (peer, local) = told.unwrap_or(addresses);
        Self { peer, local, tls_before: proxied.is_some_and(|p| p.tls), bytes: Bytes::Plain(socket) }
    }

    /// The TLS handshake, for implicit TLS and STARTTLS. The caller has dropped what was pipelined in the clear.
    ///
    /// # Errors
    /// When the handshake fails, with rustls's words, or when it is TLS already. The connection is gone then. Has no
    /// time limit of its own.
    pub async fn start_tls(self, acceptor: &TlsAcceptor) -> io::Result<Self> {
        let Bytes::Plain(socket) = self.bytes else {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "TLS is active already"));
        };
        let stream = acceptor.handshake(socket).await?;
        let end_point = acceptor.end_point(stream.get_ref().1.server_name());
        let shown = stream.get_ref().1.peer_certificates().and_then(|all| all.first());
        let client = shown.and_then(|certificate| acceptor.client_name(certificate));
        Ok(Self {
            peer: self.peer,
            local: self.local,
            tls_before: self.tls_before,
            bytes: Bytes::Tls(Box::new(Tls { stream, end_point, client })),
        })
    }

    /// Waits until reading gives bytes, the end, or an error at once. Dropping it loses nothing.
    ///
    /// # Errors
    /// As reading.
    pub async fn readable(&mut self) -> io::Result<()> {
        match &mut self.bytes {
            Bytes::Plain(socket) => socket.readable().await,
            Bytes::Tls(tls) => match tls.stream.fill_buf().await {
                // Peers that close without close_notify are common; it is an end like any other.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                other => other.map(|_| ()),
            },
        }
    }

    /// The client's address, as a trusted proxy told it where there is one. An IPv4 client on an IPv6 socket is shown as
    /// IPv4, one on a unix socket as 127.0.0.1, port 0.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Our address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Does the client sit on this machine?
    pub fn is_loopback(&self) -> bool {
        self.peer.ip().is_loopback()
    }

    /// Does it come by a unix socket?
    pub fn is_unix(&self) -> bool {
        matches!(self.socket(), Socket::Unix(_))
    }

    /// The user id of the process at the other end of a unix socket.
    pub fn peer_uid(&self) -> Option<u32> {
        self.socket().peer_uid()
    }

    /// Acknowledges at once what has come. A client that writes the end of its command by itself waits (Nagle) until
    /// what it wrote before is acknowledged, which the kernel would put off for 40 ms.
    pub fn acknowledge(&self) {
        self.socket().acknowledge();
    }

    fn socket(&self) -> &Socket {
        match &self.bytes {
            Bytes::Plain(socket) => socket,
            Bytes::Tls(tls) => tls.stream.get_ref().0,
        }
    }

    /// Is the client's connection hidden by TLS, to us or to the trusted proxy before us?
    pub fn is_tls(&self) -> bool {
        self.tls_before || matches!(self.bytes, Bytes::Tls(_))
    }

    /// What TLS was agreed on.
    pub fn tls_info(&self) -> Option<TlsInfo> {
        let Bytes::Tls(tls) = &self.bytes else { return None };
        let session = tls.stream.get_ref().1;
        Some(TlsInfo {
            version: match session.protocol_version()? {
                rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: session.negotiated_cipher_suite()?.suite().as_str().unwrap_or("unknown").to_owned(),
            server_name: session.server_name().map(str::to_owned),
        })
    }

    /// The name in the client's certificate, if it has shown one and an authority of ours has signed it.
    pub fn client_certificate(&self) -> Option<String> {
        let Bytes::Tls(tls) = &self.bytes else { return None };
        tls.client.clone()
    }

    /// What SCRAM-PLUS may bind to; `None` without TLS.
    pub fn channel_binding(&self) -> Option<ChannelBinding> {
        let Bytes::Tls(tls) = &self.bytes else { return None };
        let session = tls.stream.get_ref().1;
        let tls_exporter = (session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3))
            // RFC 9266 §2: this label, an empty context, 32 octets.
            .then(|| session.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok())
            .flatten();
        Some(ChannelBinding { tls_exporter, tls_server_end_point: tls.end_point.clone() })
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Bytes::Tls(tls) => match Pin::new(&mut tls.stream).poll_read(cx, buf) {
                Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                other => other,
            },
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Bytes::Tls(tls) => Pin::new(&mut tls.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Bytes::Tls(tls) => Pin::new(&mut tls.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Bytes::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(cx),
        }
    }
}
