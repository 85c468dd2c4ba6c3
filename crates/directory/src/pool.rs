//! Connections to a server that accounts come from: a bounded number, kept between questions, made anew when they broke.

use parking_lot::Mutex;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Idle connections and room for more.
pub struct Pool<C> {
    idle: Mutex<Vec<C>>,
    room: Arc<Semaphore>,
}

/// A connection in use. Goes back when [`Lent::give_back`] is called, else it is closed: who gives up in the midst of an answer
/// leaves one that nobody can use.
pub struct Lent<C> {
    connection: C,
    /// Was it used before? Then it may have broken while nobody looked.
    pub used: bool,
    _permit: OwnedSemaphorePermit,
}

impl<C> Pool<C> {
    /// For so many connections at once.
    pub fn new(most: u32) -> Self {
        Self { idle: Mutex::default(), room: Arc::new(Semaphore::new(most.max(1) as usize)) }
    }

    /// A connection: an idle one that `alive` likes, or what `connect` makes.
    ///
    /// # Errors
    /// When none is free within the time, or `connect` fails.
    pub async fn get(
        &self,
        limit: Duration,
        alive: impl Fn(&mut C) -> bool,
        connect: impl AsyncFnOnce() -> Result<C, String>,
    ) -> Result<Lent<C>, String> {
        let permit = tokio::time::timeout(limit, self.room.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| {
            "all connections are busy: set `connections` higher, or see why the server is slow".to_owned()
        })?;
        let permit = permit.map_err(|why| why.to_string())?;
        loop {
            let idle = self.idle.lock().pop();
            let Some(mut connection) = idle else { break };
            if alive(&mut connection) {
                return Ok(Lent { connection, used: true, _permit: permit });
            }
        }
        Ok(Lent { connection: connect().await?, used: false, _permit: permit })
    }

    /// Takes one back.
    pub fn give_back(&self, lent: Lent<C>) {
        self.idle.lock().push(lent.connection);
    }

    /// Closes all that nobody uses: the server has gone, and the others are broken too.
    pub fn clear(&self) {
        self.idle.lock().clear();
    }
}

impl<C> Deref for Lent<C> {
    type Target = C;
    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C> DerefMut for Lent<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}
