//! A session's two directions: see [`culver_net::Wire`].

pub use culver_net::Wire;
