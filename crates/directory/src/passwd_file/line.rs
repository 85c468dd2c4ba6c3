//! A line of a passwd-file: `user:password:uid:gid:gecos:home:shell:extra fields`.

use crate::fields::{Fields, Side};
use crate::{Account, Defaults, Unusable};

/// A line, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The name in the first field, in lower case: with a domain or, in a file for one domain, without.
    pub user: String,
    fields: Fields,
}

impl Line {
    /// Takes a line apart; `None` for empty lines and comments.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() || text.starts_with(['#', ':']) {
            return None;
        }
        // The eighth field is the rest of the line, colons included.
        let mut parts = text.splitn(8, ':');
        let mut part = || parts.next().unwrap_or_default();
        let user = part().trim().to_lowercase();
        let [password, uid, gid, _gecos, home, _shell, extra] = std::array::from_fn(|_| part());
        let mut fields = Fields::default();
        // What the extra fields say comes before the fields with a place.
        for pair in extra.split_ascii_whitespace() {
            fields.add_pair(pair);
        }
        for (side, key, value) in [
            (Side::Password, "password", password),
            (Side::User, "uid", uid),
            (Side::User, "gid", gid),
            (Side::User, "home", home),
        ] {
            // 2.4 calls the home mail_home.
            let said = key == "home" && fields.user_side("mail_home").is_some();
            if !value.is_empty() && !said {
                fields.add(side, key, value);
            }
        }
        Some(Self { user, fields })
    }

    /// The account of this line under its canonical name.
    ///
    /// # Errors
    /// When a field cannot be used.
    pub fn account(&self, name: &str, defaults: &Defaults) -> Result<Account, Unusable> {
        self.fields.account(name, defaults)
    }

    /// The same, with fields that the line does not have.
    ///
    /// # Errors
    /// As [`Line::account`].
    pub fn account_with(&self, more: &Fields, name: &str, defaults: &Defaults) -> Result<Account, Unusable> {
        let mut fields = self.fields.clone();
        fields.fill(more);
        fields.account(name, defaults)
    }

    /// The canonical name that the line gives in place of the one that was typed (`user=`).
    pub fn renamed(&self) -> Option<&str> {
        self.fields.renamed()
    }
}
