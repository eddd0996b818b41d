//! Group membership: what a member is in the group is decided by pure machines, and driven by a task of its own.
//!
//! - [`classic`]: the classic protocol (KIP-62, KIP-345, KIP-394, KIP-429);
//! - [`kip848`]: the protocol `consumer`, in which the broker shares the partitions out (KIP-848);
//! - [`state`]: what both come to for the caller: which partitions it may read, and whether that goes on.
//!
//! The task waits for nothing of the caller's but that it gives up what the group wants back, so heartbeats never wait
//! for disk or data.

mod classic;
mod kip848;
mod leave;
mod lost;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use classic::Identity;
pub use leave::{Former, fence};
pub use lost::LostReason;
pub(super) use state::MembershipState;

use super::{ConsumeError, GroupProtocol, Settings, coordinator::Coordinator, retry::Streak};
use crate::wire::{
    cluster::{ClusterError, Lane},
    error::{CallError, ErrorCode},
    messages::{ConsumerGroupHeartbeatRequest, DecodeError, Request, Str},
};

/// Stores a member id durably, before it is first used. Blocks.
pub(super) type Remember = Arc<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

/// How many partitions of which topics a generation shares out, as its leader saw it.
pub(super) type Counted = BTreeMap<Str, i32>;

#[derive(Debug)]
enum Machine {
    Classic(classic::Machine),
    Kip848(kip848::Machine),
}

/// One member of one group.
pub(super) struct Membership {
    settings: Arc<Settings>,
    coordinator: Coordinator,
    machine: Mutex<Machine>,
    /// Why the driver has ended.
    ended: Mutex<Option<ConsumeError>>,
    /// Told whenever the standing may have changed.
    changed: Notify,
    /// Told whenever the driver may have something to do.
    due: Notify,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.machine.lock().fmt(f)
    }
}

impl Membership {
    pub(super) fn new(coordinator: Coordinator, settings: Arc<Settings>) -> Self {
        let machine = classic::Machine::new(settings.session_timeout, MembershipState::default());
        Self {
            machine: Mutex::new(Machine::Classic(machine)),
            ended: Mutex::default(),
            coordinator,
            settings,
            changed: Notify::new(),
            due: Notify::new(),
        }
    }

    pub(super) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the membership stands.
    pub(super) fn standing(&self) -> MembershipState {
        standing_of(&self.machine.lock()).clone()
    }

    /// The tenure and the serial number of what the group said last: they tell whether the standing is another one.
    pub(super) fn said(&self) -> (u64, u64) {
        let machine = self.machine.lock();
        let standing = standing_of(&machine);
        (standing.tenure, standing.serial)
    }

    /// Who may commit in a tenure, and which partitions; read together, so that they belong together.
    pub(super) fn commits_as(&self, tenure: u64) -> Option<(Identity, BTreeSet<i32>)> {
        let machine = self.machine.lock();
        let standing = standing_of(&machine);
        let identity = match &*machine {
            Machine::Classic(machine) => machine.identity(),
            Machine::Kip848(machine) => machine.identity(),
        };
        let ours = standing.owned.clone();
        identity
            .filter(|_| standing.tenure == tenure)
            .map(|identity| (identity, ours))
    }

    /// Waits until the standing may have changed since the last such wait.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Why there will be no membership any more, if so; told once.
    pub(super) fn take_end(&self) -> Option<ConsumeError> {
        let failed = standing_of(&self.machine.lock()).failed;
        let ended = self.ended.lock().take();
        ended.or_else(|| failed.map(|(api, code)| self.refused(api, code)))
    }

    /// The caller reads exactly these partitions now, or has not committed them to their end.
    pub(super) fn owns(&self, tenure: u64, serial: u64, partitions: &BTreeSet<i32>) {
        self.on(|machine| match machine {
            Machine::Classic(machine) => {
                let owns = classic::Event::Owns(tenure, serial, partitions.clone());
                machine.on(owns, Instant::now())
            }
            Machine::Kip848(machine) => {
                machine.owns(tenure, serial, partitions);
                None
            }
        });
    }

    /// Takes over what the coordinator answered to a heartbeat or commit of an identity.
    pub(super) fn answered(
        &self,
        api: &'static str,
        identity: &Identity,
        result: Result<(), ErrorCode>,
    ) -> Option<ErrorCode> {
        if let Err(code) = result {
            self.coordinator.note(code);
        }
        self.on(|machine| match machine {
            Machine::Classic(machine) => {
                let answered = classic::Event::Answered(identity.generation, result);
                machine.on(answered, Instant::now())
            }
            Machine::Kip848(machine) => result
                .err()
                .and_then(|code| machine.refused(api, identity, code)),
        })
    }

    fn on<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> T {
        let (done, moved) = {
            let mut machine = self.machine.lock();
            let before = standing_of(&machine).clone();
            let done = work(&mut machine);
            (done, *standing_of(&machine) != before)
        };
        if moved {
            self.changed.notify_one();
        }
        self.due.notify_one();
        done
    }

    pub(super) fn refused(&self, api: &'static str, code: ErrorCode) -> ConsumeError {
        ConsumeError::Group {
            group: self.coordinator.group().to_string(),
            api,
            code,
        }
    }

    /// Keeps the membership, for as long as it is polled, in whichever protocol both sides have. `remember` stores a
    /// member id durably before it is used.
    pub(super) async fn drive(self: Arc<Self>, remember: Remember) {
        let ended = match self.speaks_modern().await {
            Ok(true) => match Arc::clone(&self).drive_modern(&remember).await {
                Ok(kip848::NotHere) => Arc::clone(&self).drive_classic(&remember).await,
                Err(error) => Err(error),
            },
            Ok(false) => Arc::clone(&self).drive_classic(&remember).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            *self.ended.lock() = Some(error);
            self.changed.notify_one();
        }
    }

    /// Whether to begin with KIP-848: what is asked for, and what the coordinator has.
    async fn speaks_modern(&self) -> Result<bool, ConsumeError> {
        if self.settings.protocol == GroupProtocol::Classic {
            return Ok(false);
        }
        let mut streak = Streak::new(format!("reach group {}", self.coordinator.group()));
        loop {
            let connected = async {
                let node = self.coordinator.node().await?;
                let cluster = self.coordinator.cluster();
                let connection = cluster.connection(node, Lane::Group).await?;
                let here = connection.version_of::<ConsumerGroupHeartbeatRequest>();
                if here.is_none() && self.settings.protocol == GroupProtocol::Consumer {
                    return Err(ClusterError::Call(CallError::Unsupported {
                        address: connection.address().to_owned(),
                        api: ConsumerGroupHeartbeatRequest::NAME,
                        min: ConsumerGroupHeartbeatRequest::MIN_VERSION,
                        max: ConsumerGroupHeartbeatRequest::MAX_VERSION,
                    }));
                }
                Ok(here.is_some())
            };
            match connected.await {
                Ok(here) => {
                    streak.over();
                    return Ok(here);
                }
                Err(error) if error.is_retriable() => streak.failed(&error).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Stores a member id, off the event loop.
    async fn remember(&self, remember: &Remember, member_id: &Str) -> Result<(), ConsumeError> {
        let (remember, id) = (Arc::clone(remember), member_id.clone());
        let stored = tokio::task::spawn_blocking(move || remember(&id)).await;
        stored
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| ConsumeError::Remember {
                group: self.coordinator.group().to_string(),
                source,
            })
    }
}

/// Reads a classic member's assignment, topic by topic.
///
/// # Errors
/// When the bytes are none.
pub fn read_assignment(bytes: Bytes) -> Result<BTreeMap<String, Vec<i32>>, DecodeError> {
    let share = classic::decode_assignment(bytes)?;
    Ok(share
        .into_iter()
        .map(|(topic, partitions)| (topic.to_string(), partitions))
        .collect())
}

fn standing_of(machine: &Machine) -> &MembershipState {
    match machine {
        Machine::Classic(machine) => machine.standing(),
        Machine::Kip848(machine) => machine.standing(),
    }
}

/// Milliseconds as the protocol has them.
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
