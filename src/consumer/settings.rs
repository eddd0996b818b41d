//! What a consumer has to know, in the terms of Kafka's own clients.

use std::time::Duration;

use super::Assignor;
use crate::wire::messages::Str;

/// Which records of transactions are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Those of open and aborted transactions too.
    ReadUncommitted,
    /// Only those of committed ones; reading stops at the last stable offset.
    #[default]
    ReadCommitted,
}

impl Isolation {
    /// As the protocol has it.
    pub(super) const fn level(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Which group protocol to speak (`Kafka.GroupProtocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// KIP-848 where the coordinator has it, otherwise the classic one.
    #[default]
    Auto,
    /// JoinGroup, SyncGroup, Heartbeat: the members share the partitions out.
    Classic,
    /// KIP-848: the broker shares the partitions out.
    Consumer,
}

/// What a [`Consumer`](super::Consumer) has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `Kafka.GroupId`.
    pub group: Str,
    /// `Kafka.Topic`.
    pub topic: Str,
    /// The topic's id where the brokers have such: another topic of the same name is not read.
    pub topic_id: Option<uuid::Uuid>,
    /// `Kafka.GroupProtocol`.
    pub protocol: GroupProtocol,
    /// `Kafka.PartitionAssignmentStrategy`, of a classic group.
    pub assignor: Assignor,
    /// `Kafka.GroupInstanceId` (KIP-345).
    pub group_instance_id: Option<Str>,
    /// `Kafka.ClientRack` (KIP-392).
    pub rack: Option<Str>,
    /// After how long without a heartbeat the group goes on without this member (`Kafka.SessionTimeoutMs`).
    pub session_timeout: Duration,
    /// How often to beat (`Kafka.HeartbeatIntervalMs`); at most a third of the session.
    pub heartbeat_interval: Duration,
    /// How long the members have to give up their partitions when the group is made anew (`Kafka.MaxPollIntervalMs`).
    pub rebalance_timeout: Duration,
    /// Settings that were given, and that only the classic protocol knows: said where KIP-848 is spoken.
    pub classic_only: Vec<&'static str>,
    /// `Kafka.IsolationLevel`.
    pub isolation: Isolation,
    /// The largest answer to ask for, in bytes (`Kafka.FetchMaxBytes`); memory may demand less.
    pub fetch_max_bytes: usize,
    /// The most to ask for of one partition, in bytes (`Kafka.MaxPartitionFetchBytes`).
    pub max_partition_fetch_bytes: usize,
}
