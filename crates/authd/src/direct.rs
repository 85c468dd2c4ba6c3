//! The same questions without a socket, for an administrator whose server does not run.

use crate::fields::{Code, failure, may_not_send, refusal, user_fields};
use crate::peer;
use crate::service::{AuthdService, WITHIN};
use culver_auth::{Delay, Progress};
use culver_auth_protocol::client::Answer;
use culver_auth_protocol::{CLIENT_MINOR, Fields, master};
use culver_directory::Login;
use culver_sasl::Mechanism;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

/// Is this the password? As a client socket answers to PLAIN, only that failures wait for nothing.
pub async fn verify(
    service: &AuthdService,
    name: &str,
    user: &str,
    password: &[u8],
    fields: &Fields,
) -> Answer {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let behind = peer::peer((here, here), name, fields, "direct".to_owned());
    let hasty = Delay { at_most: Duration::ZERO, counted: false };
    let mut exchange = service.auth.start(Mechanism::Plain, &behind, None).delayed(hasty);
    let message = [b"\0", user.as_bytes(), b"\0", password].concat();
    let fail = |user: &str, code, reason: Option<&str>| Answer::Fail {
        id: 1,
        fields: failure(CLIENT_MINOR, Some((user, user)), code, reason),
    };
    match timeout(WITHIN, exchange.step(&message)).await {
        Ok(Progress::Done { account, .. }) => match account.send.off() {
            Some(reason) if peer::sends(name) => {
                fail(&account.name, Some(Code::Disabled), Some(&may_not_send(reason)))
            }
            _ => {
                let mut fields = Fields::new().with("user", &account.name);
                if user != account.name {
                    fields = fields.with("original_user", user);
                }
                Answer::Ok { id: 1, fields }
            }
        },
        Ok(Progress::Denied(denied)) => {
            let (code, reason) = refusal(&denied);
            fail(user, code, reason.as_deref())
        }
        Ok(Progress::Challenge(_)) | Err(_) => fail(user, Some(Code::Temporary), None),
    }
}

/// Whose is the account, and where does its mail lie? As a master socket answers to USER.
///
/// # Errors
/// When it cannot be known now; the text says why.
pub async fn look_up(service: &AuthdService, user: &str) -> Result<master::Answer, String> {
    let Ok(login) = Login::parse(user.as_bytes()) else { return Ok(master::Answer::NotFound(1)) };
    match timeout(WITHIN, service.directory.find(&login)).await {
        Ok(Ok(None)) => Ok(master::Answer::NotFound(1)),
        Ok(Ok(Some(account))) => {
            let (user, fields) = (account.name.clone(), user_fields(&account, service.owner));
            Ok(master::Answer::User { id: 1, user, fields })
        }
        Ok(Err(why)) => Err(why.to_string()),
        Err(_) => Err("the directory did not answer in time".to_owned()),
    }
}
