//! `static`: every account is the same but for its name.
//!
//! For passwords: one password for all (or none), for tests and for proxies. For accounts: where mail lies when another source
//! knows only passwords. It then does not know who exists: the directory asks the sources of passwords, unless the setting
//! says that every name exists.

use crate::fields::Fields;
use crate::{Account, Credentials, Defaults, Login, Outage, Source};
use async_trait::async_trait;
use std::sync::Arc;

/// Accounts that are all alike.
pub struct Fixed {
    name: String,
    fields: Fields,
    defaults: Defaults,
    all_exist: bool,
}

impl Fixed {
    /// Each account has these fields. `all_exist`: every name is an account, whoever knows its password.
    pub fn new(name: impl Into<String>, fields: Fields, defaults: Defaults, all_exist: bool) -> Self {
        Self { name: name.into(), fields, defaults, all_exist }
    }
}

#[async_trait]
impl Source for Fixed {
    fn name(&self) -> &str {
        &self.name
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        let account = self.fields.account(login.as_str(), &self.defaults);
        let account = account.map_err(|why| Outage::new(&self.name, format!("account {login}: {why}")))?;
        Ok(Some(Arc::new(account)))
    }

    async fn credentials(&self, login: &Login) -> Result<Option<Credentials>, Outage> {
        Ok(self.find(login).await?.map(|account| Credentials { account, whole: true }))
    }

    async fn has_domain(&self, _: &str) -> Result<bool, Outage> {
        // The setting `domains` says which.
        Ok(false)
    }

    fn knows_everybody(&self) -> bool {
        !self.all_exist
    }
}
