//! Accepting connections, and what serves them.

use crate::BoxFuture;
use crate::listen::{Bound, Encryption, Listener};
use crate::proxy;
use crate::socket::{HERE, Socket};
use crate::stream::Stream;
use crate::tasks::{Shutdown, Tasks};
use crate::tls::TlsAcceptor;
use culver_base::Network;
use culver_events::{Event, Events, Origin, Transport};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

/// A connection to be served.
pub struct Connection {
    /// Its bytes; TLS is done if the listener wanted it.
    pub stream: Stream,
    /// The session's id: 16 letters and digits, never used twice. Told in every line of the log about it.
    pub session: String,
}

/// What is said over a connection.
pub trait Serve: Send + Sync + 'static {
    /// The protocol's name in the log: `imap`, ...
    fn service(&self) -> &'static str;

    /// Serves one connection to its end. When `shutdown` tells, it says goodbye and comes back soon.
    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()>;
}

/// What all accept loops share.
#[derive(Clone)]
pub struct Front {
    /// For implicit TLS.
    pub tls: Option<TlsAcceptor>,
    /// Where connections' tasks live.
    pub tasks: Tasks,
    /// What happened.
    pub events: Events,
    /// Tells when to stop.
    pub shutdown: Shutdown,
    /// Connections at once, over all listeners that share it. Beyond it they wait in the kernel's queue.
    pub room: Arc<Semaphore>,
}

/// A client has so long for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Accepts until the server stops. Without descriptors or memory it rests (up to a second) and tries again.
pub async fn accept(listener: Listener, service: Arc<dyn Serve>, front: Front) {
    let mut rest = FIRST_REST;
    let trusted: Arc<[Network]> = listener.proxies.into();
    let _file = listener.file;
    let socket = match Acceptor::new(listener.socket) {
        Ok(socket) => socket,
        Err(e) => {
            front.events.emit(Event::AcceptFailed { listener: listener.name, why: e.to_string() });
            return;
        }
    };
    loop {
        let Ok(permit) = front.room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = front.shutdown.wait() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                rest = FIRST_REST;
                let (service, own, encryption) = (service.clone(), front.clone(), listener.encryption);
                let trusted = trusted.clone();
                front.tasks.spawn(listener.name.clone(), async move {
                    if let Some(stream) = begin(socket, peer, &trusted, service.service(), &own).await {
                        connection(stream, encryption, service, own).await;
                    }
                    drop(permit);
                });
            }
            Err(e) if of_the_peer(&e) => {}
            Err(e) => {
                if rest == FIRST_REST {
                    let why =
                        format!("{e}; trying again. If descriptors ran out, raise LimitNOFILE= of the unit");
                    front.events.emit(Event::AcceptFailed { listener: listener.name.clone(), why });
                }
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = front.shutdown.wait() => return,
                }
                rest = (rest * 2).min(LONGEST_REST);
            }
        }
    }
}

/// A socket of either family that accepts.
enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    fn new(socket: Bound) -> io::Result<Self> {
        match socket {
            Bound::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            Bound::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    /// A connection, and where it comes from.
    async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Self::Tcp(socket) => socket.accept().await.map(|(tcp, peer)| (Socket::Tcp(tcp), peer)),
            Self::Unix(socket) => socket.accept().await.map(|(unix, _)| (Socket::Unix(unix), HERE)),
        }
    }
}

/// The connection, once it is known who is there; `None` when that cannot be known.
async fn begin(
    mut socket: Socket,
    peer: SocketAddr,
    trusted: &[Network],
    service: &'static str,
    front: &Front,
) -> Option<Stream> {
    let (remote, local) = socket.addresses(peer).ok()?;
    if !trusted.iter().any(|network| network.contains(remote.ip())) {
        return Some(Stream::plain(socket, (remote, local), None));
    }
    let told = tokio::select! {
        told = proxy::read(&mut socket) => told,
        () = front.shutdown.wait() => return None,
    };
    match told {
        Ok(proxied) => Some(Stream::plain(socket, (remote, local), Some(proxied))),
        // Health checks connect and go away.
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
        Err(e) => {
            let from = Origin { service, remote, local, transport: Transport::Plain, session: session_id() };
            front.events.emit(Event::HandshakeFailed { from, why: e.to_string() });
            None
        }
    }
}

const FIRST_REST: Duration = Duration::from_millis(10);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Errors of accept(2) that say nothing about us.
fn of_the_peer(e: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        e.kind(),
        K::ConnectionAborted
            | K::ConnectionReset
            | K::ConnectionRefused
            | K::Interrupted
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::NetworkDown
            | K::TimedOut
    )
}

async fn connection(mut stream: Stream, encryption: Encryption, service: Arc<dyn Serve>, front: Front) {
    let session = session_id();
    if encryption == Encryption::Implicit {
        let from = Origin {
            service: service.service(),
            remote: stream.peer_addr(),
            local: stream.local_addr(),
            transport: Transport::Plain,
            session: session.clone(),
        };
        match handshake(stream, &front).await {
            Ok(tls) => stream = tls,
            Err(Some(why)) => {
                front.events.emit(Event::HandshakeFailed { from, why });
                return;
            }
            Err(None) => return,
        }
    }
    let shutdown = front.shutdown.clone();
    drop(front);
    service.serve(Connection { stream, session }, shutdown).await;
}

/// `Err(None)`: not worth a line.
async fn handshake(stream: Stream, front: &Front) -> Result<Stream, Option<String>> {
    let Some(acceptor) = &front.tls else {
        return Err(Some("there is no certificate; set tls.certificate".to_owned()));
    };
    // Boxed: what a handshake needs must not stay in the session's task for hours.
    let tls = Box::pin(tokio::time::timeout(HANDSHAKE, stream.start_tls(acceptor)));
    tokio::select! {
        done = tls => match done {
            Ok(Ok(stream)) => Ok(stream),
            // Health checks connect and go away.
            Ok(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Err(None),
            Ok(Err(e)) => Err(Some(e.to_string())),
            Err(_) => Err(Some(format!("not done within {} s", HANDSHAKE.as_secs()))),
        },
        () = front.shutdown.wait() => Err(None),
    }
}

/// 16 characters of 5 bits: 80 random bits are never drawn twice.
fn session_id() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";
    let mut random = [0_u8; 16];
    if getrandom::fill(&mut random).is_err() {
        // Without random numbers TLS does not work either; an id is still wanted.
        random = std::array::from_fn(|i| (culver_events::clock::now().as_nanos() >> (i * 5)) as u8);
    }
    random.iter().map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect()
}
