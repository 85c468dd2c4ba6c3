//! The life cycle.
//!
//! ```text
//! Within -> Warned 80 -> 90 -> 95 -> Over (the clock runs) -> after the grace time: Disabled -> enabled again
//! ```
//! * Every state on the way is passed and told of, also when one delivery leads from the first to the last but one.
//!   [`State::Disabled`] comes in a later look than [`State::Over`], whatever the clock says: nobody is disabled who was
//!   not told before.
//! * On the way down a threshold is left only when usage is [`Policy::hysteresis`] percent below it, so that a user at
//!   the border is warned once. Who was over and is a little below the limit is at [`State::Border`]: the clock does not
//!   run there and nothing is told when it is crossed again, but the grace time then begins anew.
//! * A clock that was set back begins the grace time anew, since nobody knows how much of it is over. One that was set
//!   ahead ends it, as five days without a server do; this cannot be told apart.
//! * Without limits everything is [`State::Within`], but receiving that was disabled is enabled again only by hand or
//!   where [`Policy::enabling`] says so.

use crate::limits::{Limits, Usage, percent};

/// How an account stands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Debug)]
pub enum State {
    /// Below all thresholds.
    #[default]
    Within,
    /// At or above this threshold.
    Warned {
        /// The threshold.
        percent: u8,
    },
    /// Was over and is not below it by more than the hysteresis. No clock runs.
    Border,
    /// At or above the limit.
    Over {
        /// When the grace time began.
        since: i64,
    },
    /// Was over for longer than the grace time: nothing is received.
    Disabled {
        /// Since when.
        since: i64,
    },
}

/// Who enables receiving again?
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Enabling {
    /// Somebody.
    #[default]
    ByHand,
    /// It happens once usage is below the limit.
    ByItself,
}

/// What is done when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Thresholds of warnings in percent, ascending, each below 100.
    pub warnings: Vec<u8>,
    /// Percentage points below a threshold at which it is left.
    pub hysteresis: u8,
    /// Seconds from over to disabled.
    pub grace: i64,
    /// Who enables receiving again?
    pub enabling: Enabling,
}

impl Default for Policy {
    fn default() -> Self {
        Self { warnings: vec![80, 90, 95], hysteresis: 5, grace: 5 * 86_400, enabling: Enabling::ByHand }
    }
}

impl Policy {
    /// With thresholds sorted and without those that mean nothing.
    pub fn tidied(mut self) -> Self {
        self.warnings.retain(|percent| (1..100).contains(percent));
        self.warnings.sort_unstable();
        self.warnings.dedup();
        self.grace = self.grace.max(0);
        self
    }
}

/// What happened between two states.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// A threshold was reached from below.
    Warned {
        /// The threshold.
        percent: u8,
    },
    /// The limit was reached.
    Over {
        /// When receiving will be disabled.
        until: i64,
    },
    /// It was reached again by somebody who has been told lately.
    OverAgain {
        /// When receiving will be disabled.
        until: i64,
    },
    /// Usage is below the limit, but only just. The clock has stopped.
    Border,
    /// The limit was left behind.
    Below,
    /// A threshold was left behind.
    Eased {
        /// Which one is above now; 0 for none.
        percent: u8,
    },
    /// The grace time is over: receiving is disabled.
    Disabled,
    /// Receiving is enabled again.
    Enabled {
        /// By whom.
        by: By,
    },
}

/// Who did it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum By {
    /// Somebody.
    Hand,
    /// Usage is below the limit.
    Itself,
}

impl Step {
    /// Is the user told by a message? What only moves a border back and forth is not.
    pub fn is_told(self) -> bool {
        match self {
            Self::Warned { .. } | Self::Over { .. } | Self::Below | Self::Disabled | Self::Enabled { .. } => {
                true
            }
            Self::OverAgain { .. } | Self::Border | Self::Eased { .. } => false,
        }
    }

    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warned { .. } => "warned",
            Self::Over { .. } => "over",
            Self::OverAgain { .. } => "over-again",
            Self::Border => "border",
            Self::Below => "below",
            Self::Eased { .. } => "eased",
            Self::Disabled => "disabled",
            Self::Enabled { .. } => "enabled",
        }
    }
}

/// Where usage stands, without history. Ordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Within,
    Warned(u8),
    Full,
}

fn level(percent: u64, policy: &Policy) -> Level {
    if percent >= 100 {
        return Level::Full;
    }
    let reached = policy.warnings.iter().rev().find(|threshold| percent >= u64::from(**threshold));
    reached.map_or(Level::Within, |threshold| Level::Warned(*threshold))
}

/// Looks once: the next state, and what happened on the way.
pub fn step(state: State, usage: Usage, limits: Limits, policy: &Policy, now: i64) -> (State, Vec<Step>) {
    let percent = percent(usage, limits).unwrap_or(0);
    let mut steps = Vec::new();
    let next = match state {
        State::Disabled { .. } => {
            if policy.enabling == Enabling::ByHand || percent >= 100 {
                return (state, steps);
            }
            steps.push(Step::Enabled { by: By::Itself });
            // It goes on from there without a word: that it may receive again says all.
            let mut quiet = Vec::new();
            settle(State::Border, percent, policy, now, &mut quiet)
        }
        State::Over { since } if percent >= 100 => {
            if since > now {
                State::Over { since: now }
            } else if now.saturating_sub(since) >= policy.grace {
                steps.push(Step::Disabled);
                State::Disabled { since: now }
            } else {
                state
            }
        }
        other => settle(other, percent, policy, now, &mut steps),
    };
    (next, steps)
}

/// Everything but the clock.
fn settle(state: State, percent: u64, policy: &Policy, now: i64, steps: &mut Vec<Step>) -> State {
    let until = now.saturating_add(policy.grace);
    let sticky = percent.saturating_add(u64::from(policy.hysteresis));
    match state {
        State::Border if percent >= 100 => {
            steps.push(Step::OverAgain { until });
            State::Over { since: now }
        }
        State::Over { .. } | State::Border if sticky >= 100 => {
            if state != State::Border {
                steps.push(Step::Border);
            }
            State::Border
        }
        State::Over { .. } | State::Border => {
            steps.push(Step::Below);
            match level(sticky, policy) {
                Level::Warned(percent) => State::Warned { percent },
                Level::Within | Level::Full => State::Within,
            }
        }
        State::Within | State::Warned { .. } | State::Disabled { .. } => {
            let had = match state {
                State::Warned { percent } => percent,
                _ => 0,
            };
            let here = level(percent, policy);
            let up = policy.warnings.iter().filter(|threshold| **threshold > had);
            let passed = up.filter(|threshold| match here {
                Level::Full => true,
                Level::Warned(reached) => **threshold <= reached,
                Level::Within => false,
            });
            let before = steps.len();
            steps.extend(passed.map(|threshold| Step::Warned { percent: *threshold }));
            if here == Level::Full {
                steps.push(Step::Over { until });
                return State::Over { since: now };
            }
            if steps.len() > before
                && let Level::Warned(percent) = here
            {
                return State::Warned { percent };
            }
            // Downwards, and only as far as usage is clear of the thresholds.
            let down = match level(sticky, policy) {
                Level::Within => 0,
                Level::Warned(percent) => percent,
                Level::Full => had,
            };
            if down < had {
                steps.push(Step::Eased { percent: down });
            }
            match down.min(had) {
                0 => State::Within,
                percent => State::Warned { percent },
            }
        }
    }
}

/// Somebody enables receiving again: if it is still over, a new grace time begins.
pub fn enable(state: State, usage: Usage, limits: Limits, policy: &Policy, now: i64) -> (State, Vec<Step>) {
    if !matches!(state, State::Disabled { .. }) {
        return (state, Vec::new());
    }
    let percent = percent(usage, limits).unwrap_or(0);
    let mut quiet = Vec::new();
    let next = settle(State::Border, percent, policy, now, &mut quiet);
    (next, vec![Step::Enabled { by: By::Hand }])
}

impl State {
    /// When a look is due though nothing was stored: at the end of the grace time.
    pub fn due(self, policy: &Policy) -> Option<i64> {
        match self {
            Self::Over { since } => Some(since.saturating_add(policy.grace)),
            _ => None,
        }
    }

    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Warned { .. } => "warned",
            Self::Border => "border",
            Self::Over { .. } => "over",
            Self::Disabled { .. } => "disabled",
        }
    }

    /// As it is written down: a name, the threshold, a time.
    pub fn parts(self) -> (&'static str, u8, i64) {
        let (percent, since) = match self {
            Self::Within | Self::Border => (0, 0),
            Self::Warned { percent } => (percent, 0),
            Self::Over { since } | Self::Disabled { since } => (0, since),
        };
        (self.name(), percent, since)
    }

    /// Back from there; `None` for names of a later version.
    pub fn from_parts(name: &str, percent: u8, since: i64) -> Option<Self> {
        Some(match name {
            "within" => Self::Within,
            "warned" => Self::Warned { percent },
            "border" => Self::Border,
            "over" => Self::Over { since },
            "disabled" => Self::Disabled { since },
            _ => return None,
        })
    }
}
