//! Sockets that listen: bound by us, or handed over by systemd.

use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// When TLS begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encryption {
    /// When the client asks for it (STARTTLS), if ever.
    OnRequest,
    /// With the first byte (imaps, RFC 8314 §3).
    Implicit,
}

/// A listening socket.
pub struct Listener {
    /// The service's name for messages, such as `imaps`.
    pub name: String,
    /// When TLS begins.
    pub encryption: Encryption,
    pub(crate) socket: TcpListener,
    address: SocketAddr,
}

/// How many connections may wait to be accepted. The kernel holds it down to `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

impl Listener {
    /// Binds. An IPv6 socket takes no IPv4 connections, so `0.0.0.0` and `[::]` can stand side by side.
    ///
    /// # Errors
    /// When the address is in use, not ours, or its port below 1024 and we may not.
    pub fn bind(name: impl Into<String>, encryption: Encryption, address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Self::adopt(name, encryption, socket.into())
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// When it is none.
    pub fn adopt(name: impl Into<String>, encryption: Encryption, socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { name: name.into(), encryption, socket, address })
    }

    /// Where it listens, with the port that the kernel chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Sockets that systemd hands over (`sd_listen_fds(3)`), each with its `FileDescriptorName=`. `names` is the value of
/// LISTEN_FDNAMES. Empty when there are none; call it once, since descriptors are taken.
///
/// # Errors
/// When one of them is no listening TCP socket.
pub fn activated(names: Option<&str>) -> io::Result<Vec<(String, TcpListener)>> {
    let mut given = ListenFd::from_env();
    let names: Vec<&str> = names.unwrap_or_default().split(':').collect();
    let mut sockets = Vec::new();
    for index in 0..given.len() {
        let name = names.get(index).copied().unwrap_or("unknown");
        let socket = given.take_tcp_listener(index).map_err(|e| {
            io::Error::new(
                e.kind(),
                format!("the socket {name} that systemd handed over is no TCP listener: {e}"),
            )
        })?;
        if let Some(socket) = socket {
            sockets.push((name.to_owned(), socket));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_stand_on_one_port() {
        let v4 = Listener::bind("a", Encryption::OnRequest, "127.0.0.1:0".parse().unwrap()).unwrap();
        let port = v4.address().port();
        assert_ne!(port, 0);
        let v6 = SocketAddr::new("::".parse().unwrap(), port);
        match Listener::bind("b", Encryption::Implicit, v6) {
            Ok(v6) => assert_eq!(v6.address().port(), port),
            Err(e) => println!("not run: no IPv6 here ({e})"),
        }
        assert_eq!(
            Listener::bind("c", Encryption::OnRequest, v4.address()).err().map(|e| e.kind()),
            Some(io::ErrorKind::AddrInUse)
        );
    }
}
