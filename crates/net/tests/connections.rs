//! Connections as a client sees them: plain, STARTTLS, implicit TLS, reload, resumption, draining.
#![allow(clippy::unwrap_used, reason = "a test")]

use culver_events::{Event, Events};
use culver_net::tls::{Oldest, self_signed};
use culver_net::{
    BoxFuture, CertificateFiles, Connection, Encryption, Front, Listener, Serve, Shutdown, Stopper, Stream,
    Tasks, TlsAcceptor, accept,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::Digest as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Says what it knows of the connection, then echoes lines; `T` starts TLS; goes away when told.
struct Echo(Option<TlsAcceptor>);

impl Serve for Echo {
    fn service(&self) -> &'static str {
        "echo"
    }

    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut stream = connection.stream;
            assert_eq!(connection.session.len(), 16);
            loop {
                tokio::select! {
                    ready = stream.readable() => if ready.is_err() { return },
                    () = shutdown.wait() => { let _ = stream.write_all(b"bye").await; let _ = stream.shutdown().await; return }
                }
                let mut buf = [0; 4096];
                match stream.read(&mut buf).await {
                    Ok(0) | Err(_) => return,
                    Ok(1) if buf[0] == b'T' => {
                        stream.write_all(b"t").await.unwrap();
                        let Ok(tls) = stream.start_tls(self.0.as_ref().unwrap()).await else { return };
                        stream = tls;
                    }
                    Ok(1) if buf[0] == b'P' => panic!("as the client wants"),
                    Ok(1) if buf[0] == b'?' => stream.write_all(facts(&stream).as_bytes()).await.unwrap(),
                    Ok(n) => stream.write_all(&buf[..n]).await.unwrap(),
                }
                stream.flush().await.unwrap();
            }
        })
    }
}

fn facts(stream: &Stream) -> String {
    let binding = stream.channel_binding().unwrap_or_default();
    let hex = |b: Option<Vec<u8>>| b.map(hex::encode).unwrap_or_default();
    let info = stream.tls_info();
    format!(
        "{} {} {} {} {}\n",
        stream.is_loopback(),
        info.as_ref().map_or("-", |i| i.version),
        info.and_then(|i| i.server_name).unwrap_or_else(|| "-".to_owned()),
        hex(binding.tls_exporter),
        hex(binding.tls_server_end_point)
    )
}

struct Server {
    plain: SocketAddr,
    tls: SocketAddr,
    acceptor: TlsAcceptor,
    stopper: Stopper,
    tasks: Tasks,
    recorded: culver_events::Recorded,
}

fn write_pair(dir: &Path, name: &str) -> CertificateFiles {
    let pair = self_signed(&[name]).unwrap();
    let files = CertificateFiles {
        certificate: dir.join(format!("{name}.pem")),
        key: dir.join(format!("{name}.key")),
    };
    std::fs::write(&files.certificate, pair.certificate).unwrap();
    std::fs::write(&files.key, pair.key).unwrap();
    files
}

fn serve(files: &[CertificateFiles], oldest: Oldest) -> Server {
    let (events, recorded) = Events::recorder();
    let acceptor = TlsAcceptor::new(files, oldest).unwrap();
    let (stopper, tasks) = (Stopper::new(), Tasks::new(events.clone()));
    let front = Front {
        tls: Some(acceptor.clone()),
        tasks: tasks.clone(),
        events,
        shutdown: stopper.shutdown(),
        room: Arc::new(tokio::sync::Semaphore::new(100)),
    };
    let service = Arc::new(Echo(Some(acceptor.clone())));
    let any = "127.0.0.1:0".parse().unwrap();
    let mut at = Vec::new();
    for encryption in [Encryption::OnRequest, Encryption::Implicit] {
        let listener = Listener::bind("echo", encryption, any).unwrap();
        at.push(listener.tcp_address().unwrap());
        tasks.spawn("accept", accept(listener, service.clone(), front.clone()));
    }
    Server { plain: at[0], tls: at[1], acceptor, stopper, tasks, recorded }
}

#[derive(Debug)]
struct Anything(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(m, c, d, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(m, c, d, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn client(version: &'static rustls::SupportedProtocolVersion) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    Arc::new(config).into()
}

async fn connect(
    client: &TlsConnector,
    to: SocketAddr,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    client.connect(ServerName::try_from(name).unwrap(), TcpStream::connect(to).await?).await
}

async fn ask(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> Vec<String> {
    stream.write_all(b"?").await.unwrap();
    let mut line = String::new();
    while !line.ends_with('\n') {
        let mut one = [0];
        stream.read_exact(&mut one).await.unwrap();
        line.push(char::from(one[0]));
    }
    line.trim_end().split(' ').map(str::to_owned).collect()
}

fn end_point(stream: &TlsStream<TcpStream>) -> String {
    let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
    hex::encode(sha2::Sha256::digest(leaf))
}

#[tokio::test]
async fn both_ends_agree_on_what_a_login_may_be_bound_to() {
    let dir = tempfile::tempdir().unwrap();
    let files = [write_pair(dir.path(), "a.example.test"), write_pair(dir.path(), "*.b.example.test")];
    let server = serve(&files, Oldest::Tls12);
    let mut stream = connect(&client(&rustls::version::TLS13), server.tls, "a.example.test").await.unwrap();
    let facts = ask(&mut stream).await;
    let exporter =
        stream.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
    assert_eq!(facts, ["true", "TLSv1.3", "a.example.test", &hex::encode(exporter), &end_point(&stream)]);

    let mut stream =
        connect(&client(&rustls::version::TLS12), server.tls, "imap.b.example.test").await.unwrap();
    let facts = ask(&mut stream).await;
    assert_eq!(facts, ["true", "TLSv1.2", "imap.b.example.test", "", &end_point(&stream)]);
    let first = connect(&client(&rustls::version::TLS13), server.tls, "a.example.test").await.unwrap();
    let unknown = connect(&client(&rustls::version::TLS13), server.tls, "other.example.test").await.unwrap();
    let wild = connect(&client(&rustls::version::TLS13), server.tls, "x.b.example.test").await.unwrap();
    assert_eq!(end_point(&unknown), end_point(&first));
    assert_eq!(end_point(&wild), end_point(&stream));
    assert_ne!(end_point(&wild), end_point(&first));
}

#[tokio::test]
async fn starttls_and_plain() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&[write_pair(dir.path(), "a.example.test")], Oldest::Tls12);
    let mut tcp = TcpStream::connect(server.plain).await.unwrap();
    assert_eq!(ask(&mut tcp).await[1], "-");
    tcp.write_all(b"T").await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), b't');
    let name = ServerName::try_from("a.example.test").unwrap();
    let mut tls = client(&rustls::version::TLS13).connect(name, tcp).await.unwrap();
    assert_eq!(ask(&mut tls).await[1], "TLSv1.3");
    // Far more than a record and a socket buffer, in both directions.
    let (mut r, mut w) = tokio::io::split(tls);
    let sent = vec![b'x'; 3_000_000];
    let all = sent.clone();
    let writer = async move {
        w.write_all(&all).await.unwrap();
        w
    };
    let mut got = vec![0; sent.len()];
    let (_, read) = tokio::join!(writer, r.read_exact(&mut got));
    read.unwrap();
    assert!(got == sent);
}

#[tokio::test]
async fn a_session_can_be_resumed_in_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&[write_pair(dir.path(), "a.example.test")], Oldest::Tls12);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = client(version);
        let mut first = connect(&client, server.tls, "a.example.test").await.unwrap();
        assert_eq!(first.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        ask(&mut first).await;
        let mut again = connect(&client, server.tls, "a.example.test").await.unwrap();
        assert_eq!(again.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
        ask(&mut again).await;
    }
}

#[tokio::test]
async fn the_oldest_version_is_kept_to_and_a_failed_handshake_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&[write_pair(dir.path(), "a.example.test")], Oldest::Tls13);
    assert!(connect(&client(&rustls::version::TLS12), server.tls, "a.example.test").await.is_err());
    assert!(connect(&client(&rustls::version::TLS13), server.tls, "a.example.test").await.is_ok());
    server.stopper.stop();
    assert_eq!(server.tasks.drain(Duration::from_secs(5)).await, 0);
    let told = server.recorded.take();
    assert!(matches!(&told[..], [Event::HandshakeFailed { from, .. }] if from.service == "echo"), "{told:?}");
}

#[tokio::test]
async fn a_new_certificate_counts_from_the_next_handshake_on_and_a_bad_one_never() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_pair(dir.path(), "a.example.test");
    let server = serve(std::slice::from_ref(&files), Oldest::Tls12);
    let client = client(&rustls::version::TLS13);
    let mut old = connect(&client, server.tls, "a.example.test").await.unwrap();
    let (events, told) = Events::recorder();
    let watch = server.acceptor.clone().watch(Duration::from_millis(5), events, server.stopper.shutdown());
    server.tasks.spawn("watch", watch);

    std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    let problem = wait_for(&told).await;
    assert!(
        matches!(&problem, Event::CertificateProblem { why, .. } if why.contains("a.example.test.pem")),
        "{problem:?}"
    );
    let still = connect(&client, server.tls, "a.example.test").await.unwrap();
    assert_eq!(end_point(&still), end_point(&old));

    let pair = self_signed(&["a.example.test", "new.example.test"]).unwrap();
    std::fs::write(&files.key, pair.key).unwrap();
    std::fs::write(&files.certificate, pair.certificate).unwrap();
    // Between the two writes another problem may have been seen.
    while !matches!(wait_for(&told).await, Event::CertificatesLoaded { names } if names.len() == 2) {}
    let new = connect(&client, server.tls, "new.example.test").await.unwrap();
    assert_ne!(end_point(&new), end_point(&old));
    assert_eq!(ask(&mut old).await[1], "TLSv1.3");
}

async fn wait_for(told: &culver_events::Recorded) -> Event {
    for _ in 0..2000 {
        if let Some(event) = told.take().pop() {
            return event;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nothing was told");
}

#[tokio::test]
async fn a_panic_ends_one_session_and_a_stop_says_goodbye_to_all() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&[write_pair(dir.path(), "a.example.test")], Oldest::Tls12);
    let mut broken = TcpStream::connect(server.plain).await.unwrap();
    let mut fine = TcpStream::connect(server.plain).await.unwrap();
    let mut secret = connect(&client(&rustls::version::TLS13), server.tls, "a.example.test").await.unwrap();
    ask(&mut fine).await;
    ask(&mut secret).await;
    broken.write_all(b"P").await.unwrap();
    let mut rest = Vec::new();
    broken.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    ask(&mut fine).await;
    server.stopper.stop();
    let drained = server.tasks.drain(Duration::from_secs(10));
    let mut goodbye = Vec::new();
    let mut goodbye_secret = Vec::new();
    let (cut, a, b) =
        tokio::join!(drained, fine.read_to_end(&mut goodbye), secret.read_to_end(&mut goodbye_secret));
    a.unwrap();
    b.unwrap();
    assert_eq!((cut, goodbye, goodbye_secret), (0, b"bye".to_vec(), b"bye".to_vec()));
    assert!(TcpStream::connect(server.plain).await.is_err());
    assert!(matches!(&server.recorded.take()[..], [Event::TaskPanicked { .. }]));
}

/// Mistakes of administrators, each with what to do.
#[test]
fn unusable_certificates_say_which_file_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (write_pair(dir.path(), "a"), write_pair(dir.path(), "b"));
    let of = |certificate: &Path, key: &Path| {
        let files = CertificateFiles { certificate: certificate.to_owned(), key: key.to_owned() };
        TlsAcceptor::new(&[files], Oldest::Tls12).err().unwrap().to_string()
    };
    assert!(of(&a.certificate, &b.key).contains("is not the key of"));
    assert!(of(&a.key, &a.key).contains("holds no certificate"));
    assert!(of(&a.certificate, &a.certificate).contains("no private key"));
    assert!(of(&dir.path().join("gone"), &a.key).contains("cannot read"));
    assert!(TlsAcceptor::new(&[], Oldest::Tls12).is_err());
}
