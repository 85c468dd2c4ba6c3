//! How much an account may keep, and what happens when it keeps more.
//!
//! Usage and limits are values; the life cycle is a function of (state, usage, limits, policy, now) that gives the next
//! state and the steps on the way there: warned, over, over for longer than the grace time, receiving disabled, enabled
//! again. Whoever calls it keeps the state, tells the user and turns the switch.
//!
//! Pure: no files, sockets, clock or log. Time is an argument, in seconds of Unix time.

pub mod cycle;
pub mod fit;
pub mod limits;

pub use cycle::{By, Enabling, Policy, State, Step, enable, step};
pub use fit::{Fit, Room, fit};
pub use limits::{Limits, Resource, Usage, percent};
