//! A worker: one question at a time, on a socket that is its standard input.

use crate::{nss, pam};
use culver_directory::system::protocol::{Answer, LONGEST_QUESTION, Question};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

/// Answers until the supervisor hangs up.
///
/// # Errors
/// When the socket cannot be used.
pub fn run(least: u32) -> io::Result<()> {
    // Also when it hangs in a module and does not see that the supervisor is gone.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader).take(LONGEST_QUESTION as u64).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(());
        }
        let Some((id, question)) = Question::parse(&line) else { return Ok(()) };
        stream.write_all(&answer(question, least).encode(id))?;
    }
}

fn answer(question: Question, least: u32) -> Answer {
    let known = match &question {
        Question::Password { user: name, .. } | Question::User { name } => match nss::user(name) {
            Ok(known) => known,
            Err(why) => {
                return Answer::Outage {
                    why: format!("NSS: {why}: look at /etc/nsswitch.conf and its services"),
                };
            }
        },
        Question::Users { least: wanted } => return Answer::Users(nss::users(least.max(*wanted))),
    };
    let refused = known.as_ref().is_some_and(|user| user.uid < least);
    match question {
        Question::Password { .. } if refused => Answer::Wrong,
        // PAM may have users whom NSS does not know.
        Question::Password { service, user, password, remote } => {
            pam::check(&service, &user, &password, remote)
        }
        _ => match known.filter(|_| !refused) {
            Some(user) => Answer::User { uid: user.uid, gid: user.gid, home: user.home },
            None => Answer::Unknown,
        },
    }
}
