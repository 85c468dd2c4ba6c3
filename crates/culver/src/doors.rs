//! Where the server listens: a row for each service.

use anyhow::{Context, Result, bail};
use culver_base::Network;
use culver_config::Settings;
use culver_config::settings::UnixSocket;
use culver_directory::passwd_file::ids;
use culver_net::{Bound, Encryption, Listener, UnixPath};
use std::io::ErrorKind;
use std::net::SocketAddr;

/// A row.
struct Door<'a> {
    /// Its name: in the configuration, of sockets that systemd hands over, and for [`crate::parts::Parts::service`].
    name: &'static str,
    encryption: Encryption,
    addresses: &'a [SocketAddr],
    sockets: &'a [UnixSocket],
    proxies: &'a [Network],
}

impl<'a> Door<'a> {
    const fn tcp(name: &'static str, encryption: Encryption, addresses: &'a [SocketAddr]) -> Self {
        Self { name, encryption, addresses, sockets: &[], proxies: &[] }
    }

    const fn and_sockets(self, sockets: &'a [UnixSocket]) -> Self {
        Self { sockets, ..self }
    }

    const fn behind(self, proxies: &'a [Network]) -> Self {
        Self { proxies, ..self }
    }
}

fn doors(settings: &Settings) -> Vec<Door<'_>> {
    use Encryption::{Implicit, OnRequest};
    let s = settings;
    vec![
        Door::tcp("imap", OnRequest, &s.imap.listen).behind(&s.imap.proxy_from),
        Door::tcp("imaps", Implicit, &s.imaps.listen).behind(&s.imaps.proxy_from),
        Door::tcp("pop3", OnRequest, &s.pop3.listen).behind(&s.pop3.proxy_from),
        Door::tcp("pop3s", Implicit, &s.pop3s.listen).behind(&s.pop3s.proxy_from),
        Door::tcp("auth", OnRequest, &s.auth_socket.listen).and_sockets(&s.auth_socket.client),
        Door::tcp("auth-master", OnRequest, &[]).and_sockets(&s.auth_socket.master),
        Door { sockets: &s.lmtp.unix, ..Door::tcp("lmtp", OnRequest, &s.lmtp.listen) }
            .behind(&s.lmtp.proxy_from),
        Door::tcp("lookup", OnRequest, &s.lookup.listen).and_sockets(&s.lookup.unix),
        Door::tcp("lookup-domain", OnRequest, &s.lookup.tcp_domain),
        Door::tcp("lookup-mailbox", OnRequest, &s.lookup.tcp_mailbox),
        Door::tcp("lookup-virtual", OnRequest, &s.lookup.tcp_virtual),
        Door::tcp("lookup-access", OnRequest, &s.lookup.tcp_access),
        Door::tcp("policy", OnRequest, &s.policy.listen).and_sockets(&s.policy.unix),
    ]
}

/// Binds everything, or takes what systemd hands over.
///
/// # Errors
/// When a socket cannot be bound, systemd's have unknown names, or there is none at all.
pub fn open(settings: &Settings, handed_over: Vec<(String, Bound)>, tls: bool) -> Result<Vec<Listener>> {
    let doors = doors(settings);
    for (name, _) in &handed_over {
        if !doors.iter().any(|door| door.name == name) {
            let names: Vec<_> = doors.iter().map(|door| door.name).collect();
            bail!(
                "systemd hands over a socket named {name}: set FileDescriptorName= to one of {}",
                names.join(", ")
            );
        }
    }
    let mut listeners = Vec::new();
    let mut given = handed_over;
    for door in doors {
        if door.encryption == Encryption::Implicit && !tls {
            continue;
        }
        let (own, rest): (Vec<_>, Vec<_>) = given.into_iter().partition(|(name, _)| name == door.name);
        given = rest;
        let mut opened = Vec::new();
        if own.is_empty() {
            for address in door.addresses {
                opened.extend(bind(door.name, door.encryption, *address)?);
            }
            for socket in door.sockets {
                opened.push(bind_unix(door.name, socket)?);
            }
        }
        for (_, socket) in own {
            opened.push(Listener::adopt(door.name, door.encryption, socket)?);
        }
        for listener in &mut opened {
            listener.proxies = door.proxies.to_vec();
        }
        listeners.extend(opened);
    }
    if listeners.is_empty() {
        bail!("there is nothing to listen on: set imap.listen or imaps.listen (and a certificate)");
    }
    Ok(listeners)
}

fn bind(name: &str, encryption: Encryption, address: SocketAddr) -> Result<Option<Listener>> {
    match Listener::bind(name, encryption, address) {
        Ok(listener) => Ok(Some(listener)),
        // The default lists both families; a machine without IPv6 is no mistake.
        Err(e)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) =>
        {
            Ok(None)
        }
        Err(e) => {
            let hint = match e.kind() {
                ErrorKind::AddrInUse => "another server (Dovecot?) has it: stop that one first",
                ErrorKind::PermissionDenied => {
                    "ports below 1024 need root, or dist/culver.socket, through which systemd binds them"
                }
                _ => "is it an address of this machine?",
            };
            Err(e).with_context(|| format!("cannot listen on {address} for {name}; {hint}"))
        }
    }
}

fn bind_unix(name: &str, socket: &UnixSocket) -> Result<Listener> {
    let path = socket.path.display();
    let id = |what: &str, name: &str, look_up: fn(&str) -> Option<u32>| match name {
        "" => Ok(None),
        name => match name.parse().ok().or_else(|| look_up(name)) {
            Some(id) => Ok(Some(id)),
            None => bail!("there is no {what} {name}, who should own the socket {path}"),
        },
    };
    let at = UnixPath {
        path: socket.path.clone(),
        mode: socket.mode.0,
        uid: id("user", &socket.user, ids::user)?,
        gid: id("group", &socket.group, ids::group)?,
    };
    Listener::bind_unix(name, &at).map_err(|e| {
        let hint = match e.kind() {
            ErrorKind::AddrInUse => "stop the other server first",
            ErrorKind::NotFound => "make its folder first",
            ErrorKind::PermissionDenied => {
                "start Culver as root with the setting `user`, or let systemd make the socket (ListenStream=)"
            }
            _ => "choose another path",
        };
        anyhow::anyhow!("cannot listen on {path} for {name}: {e}; {hint}")
    })
}
