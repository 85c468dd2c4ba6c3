//! The PROXY protocol of HAProxy, versions 1 and 2: who really is at the other end, told by a proxy that we trust.
//!
//! A connection from a trusted network must begin with it, any other must not: nobody else can claim an address. Not
//! one octet behind the header is read. A proxy's own connection (`LOCAL`, `UNKNOWN`: a health check) keeps its address.

use crate::socket::{Socket, canonical};
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// What the proxy told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proxied {
    /// The client, and the address that it connected to.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Did the client come to the proxy by TLS?
    pub tls: bool,
}

/// A proxy sends its header at once.
const PATIENCE: Duration = Duration::from_secs(10);
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its CRLF, as the specification says.
const LONGEST_LINE: usize = 107;
/// The longest header of version 2 that is read; addresses and the usual extensions take a few hundred octets.
const LONGEST_BLOCK: usize = 4096;

/// Reads the header.
///
/// # Errors
/// When there is none, it is malformed, or does not come in time.
pub async fn read(socket: &mut Socket) -> io::Result<Proxied> {
    match tokio::time::timeout(PATIENCE, header(socket)).await {
        Ok(read) => parse(&read?),
        Err(_) => Err(wrong(format!("none came within {} s", PATIENCE.as_secs()))),
    }
}

/// The header's octets, and no more.
async fn header(socket: &mut Socket) -> io::Result<Vec<u8>> {
    // The shortest of either version has more.
    let mut octets = vec![0; SIGNATURE.len()];
    socket.read_exact(&mut octets).await?;
    if octets == SIGNATURE {
        octets.resize(16, 0);
        socket.read_exact(&mut octets[SIGNATURE.len()..]).await?;
        let length = usize::from(u16::from_be_bytes([octets[14], octets[15]]));
        if length > LONGEST_BLOCK {
            return Err(wrong(format!("it announces {length} octets, and {LONGEST_BLOCK} are the most")));
        }
        octets.resize(16 + length, 0);
        socket.read_exact(&mut octets[16..]).await?;
    } else {
        while !octets.ends_with(b"\r\n") {
            if octets.len() >= LONGEST_LINE || !octets.starts_with(b"PROXY ") {
                return Err(wrong("the connection does not begin with one".to_owned()));
            }
            // Octet by octet: what follows belongs to the client.
            octets.push(socket.read_u8().await?);
        }
    }
    Ok(octets)
}

fn parse(octets: &[u8]) -> io::Result<Proxied> {
    let (header, _) = ProxyHeader::parse(octets, ParseConfig::default())
        .map_err(|e| wrong(format!("it is malformed: {e}")))?;
    let stream = header.proxied_address().filter(|a| a.protocol == Protocol::Stream);
    let addresses = stream.map(|a| (canonical(a.source), canonical(a.destination)));
    Ok(Proxied { addresses, tls: header.ssl().is_some_and(|s| s.client_ssl()) })
}

fn wrong(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("PROXY header: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    async fn told(octets: &[u8]) -> (io::Result<Proxied>, Vec<u8>) {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(octets).await.unwrap();
        drop(client);
        let mut socket = Socket::Unix(server);
        let proxied = read(&mut socket).await;
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        (proxied, rest)
    }

    // Examples of the specification, section 2.1, and its layout of version 2, section 2.2.
    #[tokio::test]
    async fn both_versions_leave_the_rest_alone() {
        let of = |a: &str, b: &str| Some((a.parse().unwrap(), b.parse().unwrap()));
        let (proxied, rest) = told(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 143\r\na NOOP\r\n").await;
        assert_eq!(
            proxied.unwrap(),
            Proxied { addresses: of("192.0.2.1:56324", "198.51.100.2:143"), tls: false }
        );
        assert_eq!(rest, b"a NOOP\r\n");
        let (proxied, rest) = told(b"PROXY UNKNOWN\r\nx").await;
        assert_eq!((proxied.unwrap().addresses, rest.as_slice()), (None, &b"x"[..]));
        let mut v2 = SIGNATURE.to_vec();
        v2.extend([0x21, 0x11, 0, 12 + 8, 192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0, 143]);
        // PP2_TYPE_SSL: client, verify.
        v2.extend([0x20, 0, 5, 1, 0, 0, 0, 0]);
        v2.extend(b"rest");
        let (proxied, rest) = told(&v2).await;
        assert_eq!(
            proxied.unwrap(),
            Proxied { addresses: of("192.0.2.1:56324", "198.51.100.2:143"), tls: true }
        );
        assert_eq!(rest, b"rest");
        let mut local = SIGNATURE.to_vec();
        local.extend([0x20, 0, 0, 0]);
        assert_eq!(told(&local).await.0.unwrap().addresses, None);
    }

    #[tokio::test]
    async fn what_is_none_is_refused() {
        let mut long = SIGNATURE.to_vec();
        long.extend([0x21, 0x11, 0xff, 0xff]);
        let mut line = b"PROXY TCP4 ".to_vec();
        line.extend([b'1'; 200]);
        for octets in
            [&b""[..], b"a", b"a CAPABILITY\r\n", b"PROXY TCP4 x y z\r\n", &SIGNATURE[..], &long, &line]
        {
            assert!(told(octets).await.0.is_err(), "{octets:?}");
        }
    }
}
