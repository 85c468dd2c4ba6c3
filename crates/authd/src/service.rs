//! What all connections to auth sockets share.

use crate::finished::Finished;
use crate::{client, master};
use culver_auth::Auth;
use culver_directory::Directory;
use culver_events::{Event, Events, Level};
use culver_net::{BoxFuture, Connection, Serve, Shutdown};
use std::sync::Arc;
use std::time::Duration;

/// Nobody waits longer for an answer.
pub(crate) const WITHIN: Duration = Duration::from_millis(4500);
/// A failure waits no longer than this.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(4);

/// The service behind both kinds of sockets.
pub struct AuthdService {
    /// Who is let in.
    pub auth: Arc<Auth>,
    /// Who is who.
    pub directory: Arc<Directory>,
    /// What happened.
    pub events: Events,
    /// Exchanges that were finished and not yet asked for; shared by services that follow each other at a reload.
    pub finished: Finished,
    /// The ids of files whose account names none: the server's own.
    pub owner: (u32, u32),
}

impl AuthdService {
    pub(crate) fn fault(&self, account: &str, what: String, session: &str) {
        let (account, session) = (account.to_owned(), session.to_owned());
        self.events.emit(Event::Fault { account, what, session });
    }

    /// Tells why a connection was closed.
    pub(crate) fn closed(&self, socket: &str, session: &str, why: &str) {
        let text = format!("{socket} connection closed: {why}; session={session}");
        self.events.emit(Event::message(Level::Warning, "auth", text));
    }
}

/// Serves a client socket.
pub struct ClientService(pub Arc<AuthdService>);

/// Serves a master socket.
pub struct MasterService(pub Arc<AuthdService>);

impl Serve for ClientService {
    fn service(&self) -> &'static str {
        "auth"
    }

    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(client::run(self.0.clone(), connection, shutdown))
    }
}

impl Serve for MasterService {
    fn service(&self) -> &'static str {
        "auth"
    }

    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(master::run(self.0.clone(), connection, shutdown))
    }
}
