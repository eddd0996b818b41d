//! Connections by address and lane: made when first needed, made again when they broke, with a pause after failures, and
//! closed when nothing was asked for `Kafka.ConnectionsMaxIdleMs`, before a broker or a firewall drops them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::Mutex as AsyncMutex, time::sleep_until};

use super::{Backoff, Lane, Settings};
use crate::wire::{
    connection::{Connection, ConnectionSettings},
    error::CallError,
    features::Features,
};

/// One lane to one address. The lock is held while connecting, so that all who need the connection wait for one attempt.
#[derive(Debug)]
struct Slot {
    connection: Option<Arc<Connection>>,
    backoff: Backoff,
    /// Before this moment no new attempt is made.
    not_before: Option<Instant>,
}

/// A time in which no broker answered, and every attempt to connect to one failed.
#[derive(Clone, Debug)]
pub struct Outage {
    /// When the first attempt failed.
    pub since: Instant,
    /// `HOST:PORT` of the last attempt.
    pub address: String,
    /// Why that one failed.
    pub reason: String,
}

type Slots = HashMap<(String, Lane), Arc<AsyncMutex<Slot>>>;

#[derive(Debug)]
pub(super) struct Pool {
    settings: ConnectionSettings,
    max_fetch_response_bytes: usize,
    max_idle: Duration,
    backoff: Backoff,
    slots: Mutex<Slots>,
    outage: Mutex<Option<Outage>>,
    features: Mutex<Features>,
}

impl Pool {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.into(),
            max_fetch_response_bytes: settings.max_fetch_response_bytes,
            max_idle: settings.connections_max_idle,
            backoff: Backoff::new(settings.reconnect_backoff, settings.reconnect_backoff_max),
            slots: Mutex::default(),
            outage: Mutex::default(),
            features: Mutex::default(),
        }
    }

    pub(super) fn outage(&self) -> Option<Outage> {
        let since = self.outage.lock().as_ref()?.since;
        if since.elapsed() < SILENCE {
            return None;
        }
        // One broker that answers is no outage, however often others are tried in vain.
        if self.has_answered_since(since) {
            *self.outage.lock() = None;
        }
        self.outage.lock().clone()
    }

    fn has_answered_since(&self, moment: Instant) -> bool {
        let slots = self.slots.lock();
        slots
            .values()
            // Whoever holds the lock is connecting.
            .filter_map(|slot| slot.try_lock().ok()?.connection.clone())
            .any(|connection| !connection.is_closed() && connection.answered() > moment)
    }

    /// What the brokers have agreed on, as far as those that were connected to knew.
    pub(super) fn features(&self) -> Features {
        *self.features.lock()
    }

    fn slot(&self, address: &str, lane: Lane) -> Arc<AsyncMutex<Slot>> {
        let mut slots = self.slots.lock();
        let slot = slots.entry((address.to_owned(), lane)).or_insert_with(|| {
            Arc::new(AsyncMutex::new(Slot {
                connection: None,
                backoff: self.backoff,
                not_before: None,
            }))
        });
        Arc::clone(slot)
    }

    /// The open connection, or a new one: at once, or after the pause that the failures before it impose.
    pub(super) async fn connection(
        &self,
        address: &str,
        lane: Lane,
    ) -> Result<Arc<Connection>, CallError> {
        self.close_idle(Instant::now());
        let slot = self.slot(address, lane);
        let mut slot = slot.lock().await;
        if let Some(open) = slot.connection.take().filter(|open| !open.is_closed()) {
            slot.connection = Some(Arc::clone(&open));
            return Ok(open);
        }
        slot.connection = None;
        if let Some(moment) = slot.not_before {
            sleep_until(moment.into()).await;
        }
        self.connect(address, lane, &mut slot).await
    }

    /// Closes what nobody has used for too long. Metadata is asked for at least every `Kafka.MetadataMaxAgeMs`, so this runs
    /// as often in a process that is idle itself.
    fn close_idle(&self, now: Instant) {
        let slots = self.slots.lock();
        for ((address, lane), slot) in slots.iter() {
            // Whoever holds the lock is connecting.
            let Ok(slot) = slot.try_lock() else { continue };
            let Some(open) = slot.connection.as_ref().filter(|open| !open.is_closed()) else {
                continue;
            };
            if open.idle_for(now).is_some_and(|idle| idle >= self.max_idle) {
                tracing::debug!(%address, ?lane, "closed an idle connection");
                open.close();
            }
        }
    }

    async fn connect(
        &self,
        address: &str,
        lane: Lane,
        slot: &mut Slot,
    ) -> Result<Arc<Connection>, CallError> {
        let mut settings = self.settings.clone();
        if lane == Lane::Fetch {
            settings.max_response_bytes = self.max_fetch_response_bytes;
        }
        match Connection::open(address, &settings).await {
            Ok(connection) => {
                if slot.backoff.failures() > 0 {
                    tracing::info!(%address, ?lane, "connected again");
                }
                slot.backoff.reset();
                slot.not_before = None;
                *self.outage.lock() = None;
                self.features.lock().learn(connection.features());
                let connection = Arc::new(connection);
                slot.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                let now = Instant::now();
                let pause = slot.backoff.next_pause(rand::random());
                slot.not_before = Some(now + pause);
                let mut outage = self.outage.lock();
                *outage = Some(Outage {
                    since: outage.as_ref().map_or(now, |outage| outage.since),
                    address: address.to_owned(),
                    reason: error.to_string(),
                });
                drop(outage);
                tracing::debug!(%address, ?lane, %error, pause_ms = pause.as_millis(), "cannot connect");
                Err(error)
            }
        }
    }

    /// An open connection on `lane` to whichever broker.
    pub(super) fn any_open(&self, lane: Lane) -> Option<Arc<Connection>> {
        let slots = self.slots.lock();
        slots
            .iter()
            .filter(|((_, of), _)| *of == lane)
            .filter_map(|(_, slot)| slot.try_lock().ok()?.connection.clone())
            .find(|connection| !connection.is_closed())
    }

    /// Tries the addresses side by side, each a little after the one before, and takes the first that answers.
    pub(super) async fn first_reachable(
        &self,
        addresses: &[String],
        lane: Lane,
    ) -> Result<Arc<Connection>, CallError> {
        use futures::stream::{FuturesUnordered, StreamExt};
        let mut attempts: FuturesUnordered<_> = addresses
            .iter()
            .zip(0u32..)
            .map(|(address, place)| async move {
                // Staggered, so that one live broker is one connection, and a dead one costs little (RFC 8305).
                tokio::time::sleep(STAGGER * place).await;
                self.connection(address, lane).await
            })
            .collect();
        let mut last = CallError::UnknownNode { node: -1 };
        while let Some(attempt) = attempts.next().await {
            match attempt {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// How long nobody has to have answered before that counts as an outage: longer than a fetch is waited for.
const SILENCE: Duration = Duration::from_millis(800);

/// How long after one address the next is tried too.
const STAGGER: Duration = Duration::from_millis(200);
