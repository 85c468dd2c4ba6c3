//! What the demo prints: how to connect, to be copied.

use crate::server::Addresses;
use std::path::Path;

/// The whole text.
pub fn how_to_connect(dir: &Path, addresses: &Addresses, users: u32) -> String {
    let port = |name: &str| {
        addresses.iter().find(|a| a.name == name).and_then(|a| a.tcp).map_or(0, |tcp| tcp.port())
    };
    let (pop3, pop3s) = (port("pop3"), port("pop3s"));
    let (imap, imaps, lmtp, dir) = (port("imap"), port("imaps"), port("lmtp"), dir.display());
    let more = if users == 0 {
        String::new()
    } else {
        format!("  More accounts    u0001@example.test to u{users:04}@example.test, password pass\n")
    };
    format!(
        "Culver demo. Everything lies in {dir}

  IMAP             127.0.0.1, port {imap}, STARTTLS or none
  IMAPS            127.0.0.1, port {imaps}, TLS
  POP3             127.0.0.1, port {pop3}, STLS or none
  POP3S            127.0.0.1, port {pop3s}, TLS
  LMTP             127.0.0.1, port {lmtp}, or the unix socket {dir}/lmtp, for an MTA to hand over mail
  Account          demo@example.test, password demo
{more}  Mail             {dir}/mail/demo@example.test/Mail, a Maildir
  Certificate      {dir}/tls/certificate.pem, made for this demo: clients will ask whether to trust it

Thunderbird: Account Settings > Account Actions > Add Mail Account; e-mail demo@example.test, password demo; Configure manually:
  incoming IMAP, host 127.0.0.1, port {imaps}, SSL/TLS, normal password, username demo@example.test; Advanced config;
  confirm the certificate. Sending is not part of the demo.

mutt or neomutt:
  neomutt -n -F /dev/null -e 'set ssl_force_tls=no ssl_starttls=no' -f imap://demo%40example.test:demo@127.0.0.1:{imap}/INBOX

curl:
  curl --insecure --user demo@example.test:demo 'imaps://127.0.0.1:{imaps}/'
  curl --insecure --user demo@example.test:demo 'imaps://127.0.0.1:{imaps}/INBOX;MAILINDEX=1'
  curl --insecure --user demo@example.test:demo 'pop3s://127.0.0.1:{pop3s}/1'

By hand:
  openssl s_client -quiet -crlf -connect 127.0.0.1:{imaps}
  a LOGIN demo#example.test demo

New mail, from another program: write a file into {dir}/mail/demo@example.test/Mail/tmp
and rename it into .../Mail/new; clients that wait (IDLE) hear of it at once.

Ctrl-C ends it; culver demo --dir {dir} goes on where it was.
"
    )
}
