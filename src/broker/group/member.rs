//! A member of a group, as it described itself when it joined. Pure.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// Names a request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::broker) struct Ticket(pub(in crate::broker) u64);

/// One of the ways in which a member is able to share partitions out, with what it tells the leader for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Protocol {
    pub(in crate::broker) name: String,
    pub(in crate::broker) metadata: Bytes,
}

/// A request to join.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Join {
    /// Empty at the first time.
    pub(in crate::broker) member_id: String,
    /// The id for a member that has none yet.
    pub(in crate::broker) new_member_id: String,
    /// Whether a member without id is sent away to come back with it (KIP-394, from version 4 on).
    pub(in crate::broker) id_required: bool,
    /// Whether the client understands that a leader has nothing to share out (KIP-814, from version 9 on).
    pub(in crate::broker) knows_skip_assignment: bool,
    /// `group.instance.id` of a static member (KIP-345).
    pub(in crate::broker) instance: Option<String>,
    pub(in crate::broker) client_id: String,
    pub(in crate::broker) client_host: String,
    pub(in crate::broker) session_timeout: Duration,
    pub(in crate::broker) rebalance_timeout: Duration,
    pub(in crate::broker) protocol_type: String,
    /// The preferred one first.
    pub(in crate::broker) protocols: Vec<Protocol>,
}

/// A member.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Member {
    pub(in crate::broker) id: String,
    pub(in crate::broker) instance: Option<String>,
    pub(in crate::broker) client_id: String,
    pub(in crate::broker) client_host: String,
    pub(in crate::broker) assignment: Bytes,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<Protocol>,
    /// When it is given up without a sign of life.
    pub(super) session_ends: Instant,
    /// Its JoinGroup that waits for the others.
    pub(super) joining: Option<Ticket>,
    /// Its SyncGroup that waits for the leader's.
    pub(super) syncing: Option<Ticket>,
    /// Whether it asked for its assignment in this generation.
    pub(super) synced: bool,
}

impl Member {
    pub(super) fn new(id: String, join: &Join, now: Instant) -> Self {
        let mut member = Self {
            id,
            instance: join.instance.clone(),
            client_id: String::new(),
            client_host: String::new(),
            assignment: Bytes::new(),
            session_timeout: Duration::ZERO,
            rebalance_timeout: Duration::ZERO,
            protocols: Vec::new(),
            session_ends: now,
            joining: None,
            syncing: None,
            synced: false,
        };
        member.describe(join, now);
        member
    }

    /// Takes over what it says of itself now.
    pub(super) fn describe(&mut self, join: &Join, now: Instant) {
        self.client_id.clone_from(&join.client_id);
        self.client_host.clone_from(&join.client_host);
        self.session_timeout = join.session_timeout;
        self.rebalance_timeout = join.rebalance_timeout;
        self.protocols.clone_from(&join.protocols);
        self.touch(now);
    }

    /// Counts a sign of life.
    pub(super) fn touch(&mut self, now: Instant) {
        self.session_ends = now + self.session_timeout;
    }

    /// Whether a request of it waits with us, which is a sign of life as long as it does.
    pub(super) fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|own| own.name == protocol)
    }

    /// What it tells the leader for `protocol`.
    pub(in crate::broker) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|own| own.name == protocol)
            .map(|own| own.metadata.clone())
            .unwrap_or_default()
    }
}
