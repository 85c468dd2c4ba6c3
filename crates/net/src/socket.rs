//! A connected socket, of either family.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// TCP or unix.
pub enum Socket {
    /// From some machine.
    Tcp(TcpStream),
    /// From this one.
    Unix(UnixStream),
}

/// What a peer on a unix socket has for an address.
pub const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Socket {
    /// Peer and own address. `peer` is what accept(2) told.
    pub fn addresses(&self, peer: SocketAddr) -> io::Result<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp(tcp) => Ok((canonical(peer), canonical(tcp.local_addr()?))),
            Self::Unix(_) => Ok((HERE, HERE)),
        }
    }

    /// Waits until reading does not block.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.readable().await,
            Self::Unix(unix) => unix.readable().await,
        }
    }

    /// Acknowledges at once what has come.
    pub fn acknowledge(&self) {
        if let Self::Tcp(tcp) = self {
            // It is only faster.
            let _ = rustix::net::sockopt::set_tcp_quickack(tcp, true);
        }
    }

    /// The user id of the process at the other end of a unix socket.
    pub fn peer_uid(&self) -> Option<u32> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(unix) => unix.peer_cred().ok().map(|c| c.uid()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Unix(unix) => Pin::new(unix).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}

/// An IPv4 client on an IPv6 socket is shown as IPv4.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Makes what a listener accepts fit for sessions: Linux hands these options on, which spares five system calls for each
/// connection.
pub fn prepare(tcp: &TcpListener) -> io::Result<()> {
    use rustix::net::sockopt;
    // Answers are written in one piece; waiting for more (Nagle) only delays them.
    sockopt::set_tcp_nodelay(tcp, true)?;
    // A client that lost its network without a word is noticed after some ten minutes.
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, std::time::Duration::from_secs(300))?;
    sockopt::set_tcp_keepintvl(tcp, std::time::Duration::from_secs(60))?;
    sockopt::set_tcp_keepcnt(tcp, 5)?;
    Ok(())
}
