//! Where a new password comes from.

use crate::AdminError;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;

/// The longest password that a login takes, in octets.
const LONGEST: usize = 1024;

/// Asks for a new password.
pub trait AskPassword {
    /// On the terminal, twice.
    ///
    /// # Errors
    /// When there is no terminal, or the two differ.
    fn on_terminal(&mut self, user: &str) -> Result<String, AdminError>;

    /// The first line of standard input.
    ///
    /// # Errors
    /// When it cannot be read.
    fn on_stdin(&mut self) -> Result<String, AdminError>;
}

/// The terminal and the standard input of this process.
#[derive(Clone, Copy, Debug)]
pub struct Terminal;

impl AskPassword for Terminal {
    fn on_terminal(&mut self, user: &str) -> Result<String, AdminError> {
        if !std::io::stdin().is_terminal() {
            let text =
                "There is no terminal to ask for the password: give it with --stdin or --password-file";
            return Err(AdminError::Password(text.to_owned()));
        }
        let ask = |prompt: String| {
            let answer = rpassword::prompt_password(prompt);
            answer.map_err(|e| {
                AdminError::Password(format!("The password could not be read ({e}): use --stdin"))
            })
        };
        let first = ask(format!("Password for {user}: "))?;
        if ask("Again: ".to_owned())? == first {
            return Ok(first);
        }
        Err(AdminError::Password("The two passwords differ: try again".to_owned()))
    }

    fn on_stdin(&mut self) -> Result<String, AdminError> {
        let failed = |e| AdminError::Password(format!("Standard input could not be read: {e}"));
        first_line(std::io::stdin().lock()).map_err(failed)
    }
}

/// The first line of a file.
#[allow(clippy::disallowed_methods, reason = "the administrator's file, not a user's")]
pub fn in_file(path: &Path) -> Result<String, AdminError> {
    let line = File::open(path).and_then(|file| first_line(BufReader::new(file)));
    line.map_err(|e| AdminError::Password(format!("{}: {e}: name a file that you may read", path.display())))
}

fn first_line(from: impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    // A little more than what is taken, so that a longer one is seen to be too long.
    from.take(LONGEST as u64 + 3).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Can it be a password?
pub fn check(password: String) -> Result<String, AdminError> {
    let wrong = if password.is_empty() {
        "The password is empty: type one, or use --no-password for an account without login"
    } else if password.len() > LONGEST {
        "The password is too long: at most 1024 octets"
    } else if password.chars().any(char::is_control) {
        "The password has control characters, which clients cannot send: type another one"
    } else {
        return Ok(password);
    };
    Err(AdminError::Password(wrong.to_owned()))
}
