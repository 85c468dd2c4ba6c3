//! Unix sockets and proxies, from a client's end to what the service is told.
#![allow(clippy::unwrap_used, reason = "a test")]

use culver_base::Network;
use culver_events::Events;
use culver_net::{
    BoxFuture, Connection, Encryption, Front, Listener, Serve, Shutdown, Stopper, Tasks, UnixPath, accept,
};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// Says who is there, then echoes one read.
struct Who;

impl Serve for Who {
    fn service(&self) -> &'static str {
        "who"
    }

    fn serve(self: Arc<Self>, connection: Connection, _: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut stream = connection.stream;
            let who = format!(
                "{} {} tls={} unix={} uid={:?}\n",
                stream.peer_addr(),
                stream.local_addr().port(),
                stream.is_tls(),
                stream.is_unix(),
                stream.peer_uid()
            );
            stream.write_all(who.as_bytes()).await.unwrap();
            let mut octets = [0; 100];
            let n = stream.read(&mut octets).await.unwrap();
            stream.write_all(&octets[..n]).await.unwrap();
        })
    }
}

fn front() -> (Front, Stopper) {
    let (events, _) = Events::recorder();
    let tasks = Tasks::new(events.clone());
    let room = Arc::new(tokio::sync::Semaphore::new(10));
    let stopper = Stopper::new();
    (Front { tls: None, tasks, events, shutdown: stopper.shutdown(), room }, stopper)
}

#[tokio::test]
async fn a_unix_socket_tells_who_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let at = UnixPath { path: dir.path().join("door"), mode: 0o600, uid: None, gid: None };
    let listener = Listener::bind_unix("who", &at).unwrap();
    let (front, _stopper) = front();
    front.tasks.spawn("accept", accept(listener, Arc::new(Who), front.clone()));
    let mut client = UnixStream::connect(&at.path).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(all, format!("127.0.0.1:0 0 tls=false unix=true uid=Some({uid})\nhello"));
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed() {
    let (front, _stopper) = front();
    let mut at = Vec::new();
    for trusted in ["127.0.0.0/8", "192.0.2.0/24"] {
        let mut listener =
            Listener::bind("who", Encryption::OnRequest, "127.0.0.1:0".parse().unwrap()).unwrap();
        listener.proxies = vec![Network::parse(trusted).unwrap()];
        at.push(listener.tcp_address().unwrap());
        front.tasks.spawn("accept", accept(listener, Arc::new(Who), front.clone()));
    }
    let header = b"PROXY TCP4 203.0.113.9 198.51.100.2 4711 143\r\nhello";
    let said = async |at, octets: &'static [u8]| {
        let mut client = TcpStream::connect(at).await.unwrap();
        client.write_all(octets).await.unwrap();
        let mut all = String::new();
        // A connection that is cut off with octets unread ends in a reset.
        let _ = client.read_to_string(&mut all).await;
        all
    };
    assert_eq!(said(at[0], header).await, "203.0.113.9:4711 143 tls=false unix=false uid=None\nhello");
    // From a trusted network without the header: nothing is served.
    assert_eq!(said(at[0], b"a CAPABILITY\r\n").await, "");
    // From anywhere else it is what the client says, and not believed.
    let other = said(at[1], header).await;
    assert!(other.starts_with("127.0.0.1:") && other.contains("\nPROXY TCP4"), "{other}");
}
