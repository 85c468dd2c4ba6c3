//! Sockets that listen: bound by us, or handed over by systemd.

use culver_base::Network;
use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

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
    /// Networks whose connections begin with a PROXY header.
    pub proxies: Vec<Network>,
    pub(crate) socket: Bound,
    /// The file of a unix socket that we made.
    pub(crate) file: Option<SocketFile>,
    address: String,
}

/// A socket of either family that listens.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// Where a unix socket lies, and who may connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnixPath {
    /// The path.
    pub path: PathBuf,
    /// Its permissions, such as `0o660`: whoever may write to it may connect.
    pub mode: u32,
    /// Its owner; `None` for whoever we are.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
}

/// The file of a unix socket; removed with it, where that is still allowed.
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another server may have put its own in the place.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::lstat(path)?;
    Ok((stat.st_dev, stat.st_ino))
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
        Self::adopt(name, encryption, Bound::Tcp(socket.into()))
    }

    /// Binds a unix socket. It appears under its name only with its owner and permissions. A socket that nobody listens on
    /// any more is replaced.
    ///
    /// # Errors
    /// When somebody listens there, the folder is missing, or we may not.
    pub fn bind_unix(name: impl Into<String>, at: &UnixPath) -> io::Result<Self> {
        match UnixStream::connect(&at.path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                let file = rustix::fs::lstat(&at.path)?;
                if !rustix::fs::FileType::from_raw_mode(file.st_mode).is_socket() {
                    let text = "there is a file of that name that is no socket";
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
                }
            }
            Err(e) => return Err(e),
        }
        let mut fresh = at.path.clone().into_os_string();
        fresh.push(format!(".{}", std::process::id()));
        let fresh = PathBuf::from(fresh);
        let _ = rustix::fs::unlink(&fresh);
        let socket = UnixListener::bind(&fresh)?;
        let placed = (|| {
            rustix::net::listen(&socket, BACKLOG)?;
            if at.uid.is_some() || at.gid.is_some() {
                let (uid, gid) =
                    (at.uid.map(rustix::fs::Uid::from_raw), at.gid.map(rustix::fs::Gid::from_raw));
                rustix::fs::chown(&fresh, uid, gid)?;
            }
            rustix::fs::chmod(&fresh, rustix::fs::Mode::from_raw_mode(at.mode & 0o777))?;
            rustix::fs::rename(&fresh, &at.path)
        })();
        if let Err(e) = placed {
            let _ = rustix::fs::unlink(&fresh);
            return Err(e.into());
        }
        let file = SocketFile { identity: identity(&at.path)?, path: at.path.clone() };
        let mut listener = Self::adopt(name, Encryption::OnRequest, Bound::Unix(socket))?;
        listener.address = format!("unix:{}", at.path.display());
        listener.file = Some(file);
        Ok(listener)
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// When it is none.
    pub fn adopt(name: impl Into<String>, encryption: Encryption, socket: Bound) -> io::Result<Self> {
        let address = match &socket {
            Bound::Tcp(tcp) => {
                tcp.set_nonblocking(true)?;
                crate::socket::prepare(tcp)?;
                tcp.local_addr()?.to_string()
            }
            Bound::Unix(unix) => {
                unix.set_nonblocking(true)?;
                let address = unix.local_addr()?;
                format!("unix:{}", address.as_pathname().unwrap_or(Path::new("unnamed")).display())
            }
        };
        Ok(Self { name: name.into(), encryption, proxies: Vec::new(), socket, file: None, address })
    }

    /// Where it listens, with the port that the kernel chose if 0 was asked for: `127.0.0.1:143`,
    /// `unix:/run/culver/lmtp`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its address, when it is TCP.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Bound::Tcp(tcp) => tcp.local_addr().ok(),
            Bound::Unix(_) => None,
        }
    }
}

/// Sockets that systemd hands over (`sd_listen_fds(3)`), each with its `FileDescriptorName=`. `names` is the value of
/// LISTEN_FDNAMES. Empty when there are none; call it once, since descriptors are taken.
///
/// # Errors
/// When one of them is neither a TCP nor a unix socket that listens.
pub fn activated(names: Option<&str>) -> io::Result<Vec<(String, Bound)>> {
    let mut given = ListenFd::from_env();
    let names: Vec<&str> = names.unwrap_or_default().split(':').collect();
    let mut sockets = Vec::new();
    for index in 0..given.len() {
        let name = names.get(index).copied().unwrap_or("unknown");
        let tcp = given.take_tcp_listener(index);
        let socket = match tcp {
            Ok(socket) => socket.map(Bound::Tcp),
            Err(_) => given.take_unix_listener(index).map(|socket| socket.map(Bound::Unix)).map_err(|e| {
                let text = format!("the socket {name} that systemd handed over is neither TCP nor a unix socket that listens: {e}");
                io::Error::new(e.kind(), text)
            })?,
        };
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
        let port = v4.tcp_address().unwrap().port();
        assert_ne!(port, 0);
        let v6 = SocketAddr::new("::".parse().unwrap(), port);
        match Listener::bind("b", Encryption::Implicit, v6) {
            Ok(v6) => assert_eq!(v6.tcp_address().unwrap().port(), port),
            Err(e) => println!("not run: no IPv6 here ({e})"),
        }
        assert_eq!(
            Listener::bind("c", Encryption::OnRequest, v4.tcp_address().unwrap()).err().map(|e| e.kind()),
            Some(io::ErrorKind::AddrInUse)
        );
    }

    #[test]
    fn what_is_accepted_is_fit_for_sessions() {
        use rustix::net::sockopt;
        let listener = Listener::bind("a", Encryption::OnRequest, "127.0.0.1:0".parse().unwrap()).unwrap();
        let client = std::net::TcpStream::connect(listener.tcp_address().unwrap()).unwrap();
        let Bound::Tcp(socket) = &listener.socket else { panic!() };
        let accepted = loop {
            match socket.accept() {
                Ok((accepted, _)) => break accepted,
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert!(sockopt::tcp_nodelay(&accepted).unwrap());
        assert!(sockopt::socket_keepalive(&accepted).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap().as_secs(), 300);
        assert_eq!(sockopt::tcp_keepintvl(&accepted).unwrap().as_secs(), 60);
        assert_eq!(sockopt::tcp_keepcnt(&accepted).unwrap(), 5);
        drop(client);
    }

    #[test]
    fn a_unix_socket_replaces_a_dead_one_and_nothing_else() {
        use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
        let dir = tempfile::tempdir().unwrap();
        let at = UnixPath { path: dir.path().join("s"), mode: 0o620, uid: None, gid: None };
        let kind = |r: io::Result<Listener>| r.err().map(|e| e.kind());
        // A file that somebody wrote stays.
        std::fs::write(&at.path, "mine").unwrap();
        assert_eq!(kind(Listener::bind_unix("a", &at)), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(std::fs::read(&at.path).unwrap(), b"mine");
        std::fs::remove_file(&at.path).unwrap();
        // One that nobody listens on any more.
        drop(UnixListener::bind(&at.path).unwrap());
        let first = Listener::bind_unix("a", &at).unwrap();
        let meta = std::fs::metadata(&at.path).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.mode() & 0o777, 0o620);
        assert_eq!(first.address(), format!("unix:{}", at.path.display()));
        assert_eq!(kind(Listener::bind_unix("b", &at)), Some(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(!at.path.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
