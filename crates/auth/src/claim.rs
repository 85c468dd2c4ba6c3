//! Who somebody says they are, and as whom they want to be let in.
//!
//! Usually these are one. A master user logs in as somebody else: by `user*master` with the master's password, where the
//! separator is set, or by the authorization identity that a mechanism carries (RFC 4422 §3.4.1).

use culver_directory::Login;
use culver_directory::Syntax;

/// Names of the masters' file may have no domain; they are looked for in this one.
pub const MASTERS: &str = "localhost";

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    /// Whose password (or other proof) comes.
    pub login: Login,
    /// As whom they want to be let in, when that is another name.
    pub target: Option<Login>,
    /// What the policy service was told of the password.
    pub pwhash: Option<String>,
}

impl Claim {
    /// From the name and the authorization identity as sent.
    pub fn parse(user: &[u8], authorize: &[u8], separator: Option<char>) -> Result<Self, Syntax> {
        let text = std::str::from_utf8(user).ok();
        if let (Some(separator), Some(text)) = (separator, text)
            && let Some((target, master)) = text.rsplit_once(separator)
        {
            let target = Login::parse(target.as_bytes())?;
            return Ok(Self { login: master_name(master.as_bytes())?, target: Some(target), pwhash: None });
        }
        if authorize.is_empty() {
            return Ok(Self { login: Login::parse(user)?, target: None, pwhash: None });
        }
        let (login, target) = (master_name(user)?, Login::parse(authorize)?);
        let target = (target != login).then_some(target);
        Ok(Self { login, target, pwhash: None })
    }

    /// As whom they want to be let in.
    pub fn wanted(&self) -> &str {
        self.target.as_ref().unwrap_or(&self.login).as_str()
    }

    /// Somebody who is known already.
    pub fn of(login: Login) -> Self {
        Self { login, target: None, pwhash: None }
    }
}

/// A name that may be a master's.
fn master_name(name: &[u8]) -> Result<Login, Syntax> {
    match Login::parse(name) {
        Err(Syntax::DomainMissing) if !name.contains(&b'@') && !name.contains(&b'#') => {
            Login::parse(&[name, b"@", MASTERS.as_bytes()].concat())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let parse = |user: &str, authorize: &str, separator| {
            let claim = Claim::parse(user.as_bytes(), authorize.as_bytes(), separator)?;
            Ok((claim.login.to_string(), claim.target.map(|t| t.to_string())))
        };
        let is = |login: &str, target: Option<&str>| Ok((login.to_owned(), target.map(str::to_owned)));
        assert_eq!(parse("a@x.org", "", None), is("a@x.org", None));
        assert_eq!(parse("a@x.org", "A#x.org", None), is("a@x.org", None));
        assert_eq!(parse("a@x.org", "b@x.org", None), is("a@x.org", Some("b@x.org")));
        assert_eq!(parse("a@x.org*root", "", Some('*')), is("root@localhost", Some("a@x.org")));
        assert_eq!(parse("a@x.org*m@y.org", "", Some('*')), is("m@y.org", Some("a@x.org")));
        assert_eq!(parse("root", "a@x.org", None), is("root@localhost", Some("a@x.org")));
        assert_eq!(parse("root", "", None), Err(Syntax::DomainMissing));
        assert_eq!(parse("a*root", "", Some('*')), Err(Syntax::DomainMissing));
        assert_eq!(parse("a@x.org*", "", Some('*')), Err(Syntax::Empty));
        // Without the setting it is a letter like others.
        assert_eq!(parse("a*b@x.org", "", None), is("a*b@x.org", None));
    }
}
