//! The administrator's program, told of each step.

use async_trait::async_trait;
use culver_quota::{Limits, Step, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::VecDeque;
use tokio::sync::Notify;

/// A step that was taken, as it is written down until everybody has heard of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The step's name.
    pub step: String,
    /// The threshold, for warnings.
    pub threshold: u8,
    /// When receiving will be disabled.
    pub until: Option<i64>,
    /// By whom it was enabled: `hand` or `itself`.
    pub by: Option<String>,
    /// When the step was taken.
    pub at: i64,
    /// How full it was.
    pub percent: u64,
    /// Octets.
    pub storage: u64,
    /// Messages.
    pub messages: u64,
    /// The limit in octets.
    pub storage_limit: Option<u64>,
    /// The limit in messages.
    pub messages_limit: Option<u64>,
    /// Is the user told of it?
    pub to_user: bool,
    /// Seconds of grace time, at the time.
    pub grace: i64,
}

impl Told {
    pub(crate) fn new(step: Step, usage: Usage, limits: Limits, at: i64, grace: i64) -> Self {
        let until = match step {
            Step::Over { until } | Step::OverAgain { until } => Some(until),
            _ => None,
        };
        let threshold = match step {
            Step::Warned { percent } | Step::Eased { percent } => percent,
            _ => 0,
        };
        let by = match step {
            Step::Enabled { by: culver_quota::By::Hand } => Some("hand".to_owned()),
            Step::Enabled { by: culver_quota::By::Itself } => Some("itself".to_owned()),
            _ => None,
        };
        Self {
            step: step.name().to_owned(),
            threshold,
            until,
            by,
            at,
            percent: culver_quota::percent(usage, limits).unwrap_or(0),
            storage: usage.storage,
            messages: usage.messages,
            storage_limit: limits.storage,
            messages_limit: limits.messages,
            to_user: step.is_told(),
            grace,
        }
    }

    /// The grace time in whole days.
    pub fn grace_days(&self) -> i64 {
        self.grace / 86_400
    }

    /// For a hook, as JSON.
    pub fn as_json(&self, account: &str) -> Value {
        json!({
            "account": account,
            "step": self.step,
            "threshold": self.threshold,
            "percent": self.percent,
            "at": self.at,
            "until": self.until,
            "by": self.by,
            "storage": self.storage,
            "messages": self.messages,
            "storage_limit": self.storage_limit,
            "messages_limit": self.messages_limit,
        })
    }
}

/// Something of the administrator's that hears of steps.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Tells it. It limits its time itself.
    ///
    /// # Errors
    /// Are logged; the step is not told again.
    async fn run(&self, account: &str, told: &Told) -> Result<(), String>;
}

/// All of them.
pub type Hooks = Vec<std::sync::Arc<dyn Hook>>;

/// Steps that wait for hooks. What comes beyond that is not told: a hook that hangs must not fill the memory.
pub(crate) const HOOKED: usize = 1000;

/// Steps that hooks have not heard of.
#[derive(Default)]
pub(crate) struct Hooked {
    waiting: parking_lot::Mutex<VecDeque<(String, Told)>>,
    news: Notify,
}

impl Hooked {
    /// One more; `false` when there are too many.
    pub fn put(&self, account: &str, told: &Told) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= HOOKED {
            return false;
        }
        waiting.push_back((account.to_owned(), told.clone()));
        drop(waiting);
        self.news.notify_one();
        true
    }

    /// The next one.
    pub fn next(&self) -> Option<(String, Told)> {
        self.waiting.lock().pop_front()
    }

    /// Until there is one.
    pub async fn wait(&self) {
        self.news.notified().await;
    }
}
