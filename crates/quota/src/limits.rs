//! Usage and limits.

/// What an account keeps.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Debug)]
pub struct Usage {
    /// Octets.
    pub storage: u64,
    /// Messages.
    pub messages: u64,
}

impl Usage {
    /// With this much more.
    pub fn plus(self, more: Self) -> Self {
        Self {
            storage: self.storage.saturating_add(more.storage),
            messages: self.messages.saturating_add(more.messages),
        }
    }

    /// Without that much.
    pub fn minus(self, less: Self) -> Self {
        Self {
            storage: self.storage.saturating_sub(less.storage),
            messages: self.messages.saturating_sub(less.messages),
        }
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::plus)
    }
}

/// What an account may keep; `None` for no limit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Debug)]
pub struct Limits {
    /// Octets.
    pub storage: Option<u64>,
    /// Messages.
    pub messages: Option<u64>,
    /// Octets of one message.
    pub message_size: Option<u64>,
    /// Mailboxes.
    pub mailboxes: Option<u64>,
}

impl Limits {
    /// These; what they leave open as `others` have it.
    pub fn or(self, others: Self) -> Self {
        Self {
            storage: self.storage.or(others.storage),
            messages: self.messages.or(others.messages),
            message_size: self.message_size.or(others.message_size),
            mailboxes: self.mailboxes.or(others.mailboxes),
        }
    }

    /// A limit that is written down as [`Self::NONE`] stands for none, against one that others set.
    pub fn settled(self) -> Self {
        let real = |limit: Option<u64>| limit.filter(|limit| *limit < Self::NONE);
        Self {
            storage: real(self.storage),
            messages: real(self.messages),
            message_size: real(self.message_size),
            mailboxes: real(self.mailboxes),
        }
    }

    /// From here on a number means: no limit, whatever the domain says. What an `INTEGER` of SQL holds at most.
    pub const NONE: u64 = i64::MAX as u64;
}

/// What is limited.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Resource {
    /// Octets.
    Storage,
    /// Messages.
    Messages,
}

/// How full it is: the fuller of the two, in whole percent, rounded down; 100 and more is over. `None` without limits.
pub fn percent(usage: Usage, limits: Limits) -> Option<u64> {
    let of = |used: u64, limit: u64| match limit {
        0 => 100,
        _ => u64::try_from(u128::from(used) * 100 / u128::from(limit)).unwrap_or(u64::MAX),
    };
    let storage = limits.storage.map(|limit| of(usage.storage, limit));
    let messages = limits.messages.map(|limit| of(usage.messages, limit));
    storage.max(messages)
}
