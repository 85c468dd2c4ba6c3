//! Listeners, TLS, draining: bytes and nothing else.
//!
//! What is said over a connection is a [`Serve`]'s business. This crate accepts connections, hides them by TLS,
//! names and drains the tasks that serve them, and stops accepting for a while when descriptors run out.

mod accept;
mod listen;
mod proxy;
mod socket;
mod stream;
mod tasks;
pub mod tls;
mod wire;

pub use accept::{Connection, Front, Serve, accept};
pub use listen::{Bound, Encryption, Listener, UnixPath, activated};
pub use stream::{ChannelBinding, Stream, TlsInfo};
pub use tasks::{Shutdown, Stopper, Tasks};
pub use tls::{CertificateFiles, TlsAcceptor, TlsError};
pub use wire::Wire;

/// A future without a name.
pub type BoxFuture<'a, T> = futures_util::future::BoxFuture<'a, T>;
