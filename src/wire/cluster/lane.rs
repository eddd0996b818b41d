//! What a connection is for: a broker answers a connection in order, so each kind of request has one of its own.

/// What a connection is for. Each lane has a connection of its own to each broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Metadata, offsets, topics: short questions.
    Control,
    /// Produce requests, in order.
    Produce,
    /// Fetch requests, which are long polls.
    Fetch,
    /// JoinGroup and SyncGroup, which wait for the other members.
    Membership,
    /// Heartbeat, OffsetCommit and OffsetFetch, which must not wait for anything.
    Group,
}
