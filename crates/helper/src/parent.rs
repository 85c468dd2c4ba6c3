//! The helper's parent: starts it for the server, and another when it has ended.
//!
//! The server has given root's rights up when a helper dies, so somebody with these rights must stay. That is this process: it
//! waits, starts, and pauses, and asks and answers nothing. The server sends an octet when it wants a helper, and gets a line with how the last
//! one ended (empty for the first) and the helper's socket beside it, or, without a socket, why there is none. A helper that ends within a minute of
//! its start has its successor started at once; from then on there is a pause that grows to a minute. It ends when the server's end is closed.

use std::io::{self, IoSlice, Read as _, stdin};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// The longest pause; also, whoever lived so long did not die at the start.
const MINUTE: Duration = Duration::from_secs(60);

/// Starts helpers with these arguments until the server's end of standard input is closed.
///
/// # Errors
/// When standard input is no socket.
pub fn run(arguments: &[String]) -> io::Result<()> {
    let mut server = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    let mut child: Option<(Child, Instant)> = None;
    let mut early = 0;
    loop {
        server.set_read_timeout(None)?;
        if server.read(&mut [0])? == 0 {
            return Ok(());
        }
        let mut told = String::new();
        if let Some((mut child, since)) = child.take() {
            let _ = child.kill();
            told = child.wait().map_or_else(|why| why.to_string(), |status| status.to_string());
            early = if since.elapsed() < MINUTE { early + 1 } else { 0 };
        }
        let pause = pause(early);
        if !pause.is_zero() {
            server.set_read_timeout(Some(pause))?;
            // The server asks for one at a time, so this is its end or nothing.
            if matches!(server.read(&mut [0]), Ok(0)) {
                return Ok(());
            }
        }
        match start(arguments) {
            Ok((started, socket)) => {
                child = Some((started, Instant::now()));
                say(&server, &told, Some(&socket))?;
            }
            Err(why) => {
                early += 1;
                say(&server, &format!("it cannot be started: {why}"), None)?;
            }
        }
    }
}

/// After so many that ended early, one after the other.
fn pause(early: u32) -> Duration {
    match early {
        0 | 1 => Duration::ZERO,
        more => MINUTE.min(Duration::from_secs(1) * (1 << (more - 2).min(6))),
    }
}

fn start(arguments: &[String]) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("pam-helper").args(arguments).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    Ok((command.spawn()?, ours.into()))
}

fn say(server: &UnixStream, text: &str, socket: Option<&OwnedFd>) -> io::Result<()> {
    let line = format!("{text}\n");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let sockets = socket.map(|socket| [socket.as_fd()]);
    if let Some(sockets) = &sockets {
        beside.push(SendAncillaryMessage::ScmRights(sockets));
    }
    rustix::net::sendmsg(server, &[IoSlice::new(line.as_bytes())], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let seconds: Vec<_> = (0..11).map(|early| pause(early).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(u32::MAX), MINUTE);
    }
}
