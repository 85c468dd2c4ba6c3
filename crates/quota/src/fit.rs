//! Is there room for one more?

use crate::limits::{Limits, Resource, Usage};

/// Room beyond the limits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Room {
    /// Percent of the limits that the mailbox has in addition: a Trash that takes deleted mail when nothing else does.
    pub extra_percent: u32,
    /// Octets by which the last message that came in below the limit may go beyond it, but never more than a tenth of
    /// the limit. Without it an account stays a little below its limit for ever and is never over.
    pub last_message: u64,
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// There is.
    Fits,
    /// There is not.
    Over(Resource),
    /// There never will be: the message alone is larger than messages may be, or than the limit.
    TooBig {
        /// The limit, in octets.
        limit: u64,
    },
}

/// Do `more` fit? `largest` is the size of the largest message among them.
pub fn fit(usage: Usage, limits: Limits, room: Room, more: Usage, largest: u64) -> Fit {
    if let Some(limit) = limits.message_size.filter(|limit| largest > *limit) {
        return Fit::TooBig { limit };
    }
    let with_extra = |limit: u64| {
        let extra = u128::from(limit) * u128::from(room.extra_percent) / 100;
        u64::try_from(u128::from(limit) + extra).unwrap_or(u64::MAX)
    };
    if let Some(limit) = limits.storage.map(with_extra) {
        let beyond = if usage.storage < limit { room.last_message.min(limit / 10) } else { 0 };
        let end = limit.saturating_add(beyond);
        if largest > end {
            return Fit::TooBig { limit };
        }
        if usage.storage.saturating_add(more.storage) > end {
            return Fit::Over(Resource::Storage);
        }
    }
    if let Some(limit) = limits.messages.map(with_extra)
        && usage.messages.saturating_add(more.messages) > limit
    {
        return Fit::Over(Resource::Messages);
    }
    Fit::Fits
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1 << 10;

    fn one(size: u64) -> Usage {
        Usage { storage: size, messages: 1 }
    }

    fn asked(used: u64, size: u64, room: Room) -> Fit {
        let limits = Limits { storage: Some(1000 * K), messages: Some(10), ..Limits::default() };
        fit(Usage { storage: used, messages: 1 }, limits, room, one(size), size)
    }

    #[test]
    fn the_limit_itself_is_room() {
        let none = Room::default();
        assert_eq!(asked(900 * K, 100 * K, none), Fit::Fits);
        assert_eq!(asked(900 * K, 100 * K + 1, none), Fit::Over(Resource::Storage));
        assert_eq!(asked(0, 1000 * K + 1, none), Fit::TooBig { limit: 1000 * K });
    }

    #[test]
    fn the_last_message_may_go_beyond_it_once() {
        let room = Room { last_message: 10 << 20, ..Room::default() };
        assert_eq!(asked(999 * K, 101 * K, room), Fit::Fits, "a tenth");
        assert_eq!(asked(999 * K, 101 * K + 1, room), Fit::Over(Resource::Storage));
        assert_eq!(asked(1000 * K, 1, room), Fit::Over(Resource::Storage), "not once it is full");
        let room = Room { last_message: K, ..Room::default() };
        assert_eq!(asked(999 * K, 2 * K, room), Fit::Fits);
        assert_eq!(asked(999 * K, 2 * K + 1, room), Fit::Over(Resource::Storage));
    }

    #[test]
    fn a_mailbox_may_have_more() {
        let room = Room { extra_percent: 10, ..Room::default() };
        assert_eq!(asked(1000 * K, 100 * K, room), Fit::Fits);
        assert_eq!(asked(1000 * K, 100 * K + 1, room), Fit::Over(Resource::Storage));
    }

    #[test]
    fn messages_and_their_size_are_counted_too() {
        let limits = Limits { messages: Some(3), message_size: Some(K), ..Limits::default() };
        let used = Usage { storage: 1 << 40, messages: 1 };
        let two = Usage { storage: 2 * K, messages: 2 };
        let three = Usage { storage: 3 * K, messages: 3 };
        assert_eq!(fit(used, limits, Room::default(), two, K), Fit::Fits);
        assert_eq!(fit(used, limits, Room::default(), three, K), Fit::Over(Resource::Messages));
        assert_eq!(fit(used, limits, Room::default(), two, K + 1), Fit::TooBig { limit: K });
    }

    #[test]
    fn no_numbers_overflow() {
        let room = Room { extra_percent: u32::MAX, last_message: u64::MAX };
        let limits = Limits { storage: Some(u64::MAX), messages: Some(u64::MAX), ..Limits::default() };
        let all = Usage { storage: u64::MAX, messages: u64::MAX };
        assert_eq!(fit(all, limits, room, all, u64::MAX), Fit::Fits);
    }
}
