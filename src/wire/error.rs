//! Kafka's error codes and what a client does about each, and the errors of a call to a broker.
//!
//! Names and numbers are the protocol guide's ("Error Codes"). The classes are ours: what may be tried again, and what
//! has to be learnt anew before.

use std::{fmt, io, time::Duration};

use super::messages::DecodeError;

/// What helps against an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Trying again after a pause.
    Retry,
    /// Learning the leaders anew, then trying again.
    RefreshMetadata,
    /// Looking for the coordinator anew, then trying again.
    FindCoordinator,
    /// Nothing that the client can do by itself, or something that depends on the call.
    None,
}

/// An error code as a broker answers it; `0` is success and never stands here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub i16);

macro_rules! error_codes {
    ($( $code:literal $name:ident $remedy:ident $meaning:literal; )*) => {
        #[allow(missing_docs, reason = "each has its meaning in the table")]
        impl ErrorCode {
            $( pub const $name: Self = Self($code); )*

            /// The name in the protocol guide.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $code => Some(stringify!($name)), )*
                    _ => None,
                }
            }

            /// What helps.
            pub fn remedy(self) -> Remedy {
                match self.0 {
                    $( $code => Remedy::$remedy, )*
                    _ => Remedy::None,
                }
            }

            fn meaning(self) -> &'static str {
                match self.0 {
                    $( $code => $meaning, )*
                    _ => "an error that this version does not know",
                }
            }
        }
    };
}

error_codes! {
    -1 UNKNOWN_SERVER_ERROR None "the broker failed without saying why; its log tells more";
    1 OFFSET_OUT_OF_RANGE None "the offset is not in the partition's log";
    2 CORRUPT_MESSAGE Retry "a record batch arrived damaged";
    3 UNKNOWN_TOPIC_OR_PARTITION RefreshMetadata "the broker does not have this topic or partition";
    5 LEADER_NOT_AVAILABLE RefreshMetadata "the partition has no leader at the moment";
    6 NOT_LEADER_OR_FOLLOWER RefreshMetadata "the partition's leader is another broker now";
    7 REQUEST_TIMED_OUT RefreshMetadata "the broker did not finish in time";
    8 BROKER_NOT_AVAILABLE RefreshMetadata "the broker is not available";
    9 REPLICA_NOT_AVAILABLE RefreshMetadata "the replica is not available";
    10 MESSAGE_TOO_LARGE None "larger than the broker or topic allows (max.message.bytes)";
    12 OFFSET_METADATA_TOO_LARGE None "the metadata of a committed offset is longer than the broker's offset.metadata.max.bytes (by default 4,096): raise it";
    13 NETWORK_EXCEPTION RefreshMetadata "the broker lost a connection of its own";
    14 COORDINATOR_LOAD_IN_PROGRESS Retry "the coordinator is still loading its state";
    15 COORDINATOR_NOT_AVAILABLE FindCoordinator "no coordinator at the moment";
    16 NOT_COORDINATOR FindCoordinator "the coordinator is another broker now";
    17 INVALID_TOPIC_EXCEPTION None "not a legal topic name";
    18 RECORD_LIST_TOO_LARGE None "the batch is larger than the broker's segment size";
    19 NOT_ENOUGH_REPLICAS Retry "fewer replicas are in sync than min.insync.replicas demands";
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND Retry "written, but to fewer replicas than min.insync.replicas demands";
    21 INVALID_REQUIRED_ACKS None "acks is neither 0, 1 nor all";
    22 ILLEGAL_GENERATION None "the group has moved on to another generation";
    23 INCONSISTENT_GROUP_PROTOCOL None "the other members of the group use another protocol or assignment strategy";
    24 INVALID_GROUP_ID None "not a legal group id";
    25 UNKNOWN_MEMBER_ID None "the group does not know this member (any more)";
    26 INVALID_SESSION_TIMEOUT None "the broker's group.min.session.timeout.ms and group.max.session.timeout.ms do not allow this SessionTimeoutMs";
    27 REBALANCE_IN_PROGRESS None "the group is being rebalanced";
    28 INVALID_COMMIT_OFFSET_SIZE None "the metadata of a committed offset is longer than the broker takes (offset.metadata.max.bytes)";
    29 TOPIC_AUTHORIZATION_FAILED None "not allowed for this topic (Kafka.Topic): an ACL is missing, READ or WRITE with DESCRIBE";
    30 GROUP_AUTHORIZATION_FAILED None "not allowed for this group (Kafka.GroupId): an ACL is missing, READ, or DELETE to delete it";
    31 CLUSTER_AUTHORIZATION_FAILED None "not allowed in this cluster: an ACL is missing (exactly-once publishing needs WRITE on the topic, and before Kafka 2.8 IDEMPOTENT_WRITE on the cluster, too)";
    32 INVALID_TIMESTAMP None "the record's timestamp is out of the broker's range";
    33 UNSUPPORTED_SASL_MECHANISM None "the broker does not offer this SASL mechanism";
    34 ILLEGAL_SASL_STATE None "not authenticated as this listener wants it";
    35 UNSUPPORTED_VERSION None "the broker does not know this version of the API";
    36 TOPIC_ALREADY_EXISTS None "the topic exists already";
    37 INVALID_PARTITIONS None "not a legal number of partitions";
    38 INVALID_REPLICATION_FACTOR None "more replicas than there are brokers, or fewer than one";
    39 INVALID_REPLICA_ASSIGNMENT None "the partitions are given to brokers that do not exist, or in a wrong number";
    40 INVALID_CONFIG None "a setting that the broker does not take";
    41 NOT_CONTROLLER RefreshMetadata "another broker is the controller";
    42 INVALID_REQUEST None "the broker does not accept this request";
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT None "not possible with record batches of this format";
    44 POLICY_VIOLATION None "the broker's policy forbids it";
    45 OUT_OF_ORDER_SEQUENCE_NUMBER None "a batch before this one is missing";
    46 DUPLICATE_SEQUENCE_NUMBER None "the broker has this batch already";
    47 INVALID_PRODUCER_EPOCH None "a newer producer with the same id has taken over";
    48 INVALID_TXN_STATE None "the transaction is not in a state in which this can be done";
    49 INVALID_PRODUCER_ID_MAPPING None "the coordinator no longer knows this transactional id under this producer id";
    50 INVALID_TRANSACTION_TIMEOUT None "longer than the broker's transaction.max.timeout.ms";
    51 CONCURRENT_TRANSACTIONS Retry "the transaction before is still being finished";
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED None "not allowed for this transactional id (Kafka.TransactionalId): an ACL is missing, WRITE with DESCRIBE";
    54 SECURITY_DISABLED None "the broker has no authorizer";
    55 OPERATION_NOT_ATTEMPTED None "not tried, because another part of the request failed";
    56 KAFKA_STORAGE_ERROR RefreshMetadata "the broker's disk failed or is full";
    58 SASL_AUTHENTICATION_FAILED None "the broker does not accept these credentials";
    59 UNKNOWN_PRODUCER_ID None "the broker no longer remembers this producer";
    60 REASSIGNMENT_IN_PROGRESS Retry "partitions are being moved";
    68 NON_EMPTY_GROUP None "the group has members";
    69 GROUP_ID_NOT_FOUND None "there is no such group";
    70 FETCH_SESSION_ID_NOT_FOUND Retry "the broker has forgotten the fetch session";
    71 INVALID_FETCH_SESSION_EPOCH Retry "the fetch session is out of step";
    72 LISTENER_NOT_FOUND RefreshMetadata "the leader has no listener of this name";
    74 FENCED_LEADER_EPOCH RefreshMetadata "the partition has a newer leader than this client knows";
    75 UNKNOWN_LEADER_EPOCH RefreshMetadata "the broker knows an older leader than this client does";
    76 UNSUPPORTED_COMPRESSION_TYPE None "the broker does not take this compression";
    77 STALE_BROKER_EPOCH Retry "the broker is registering anew";
    78 OFFSET_NOT_AVAILABLE RefreshMetadata "the new leader does not know its high watermark yet";
    79 MEMBER_ID_REQUIRED None "join again with the member id that came with this answer";
    80 PREFERRED_LEADER_NOT_AVAILABLE RefreshMetadata "the preferred leader is not available";
    81 GROUP_MAX_SIZE_REACHED None "the group has as many members as the broker's group.max.size allows";
    82 FENCED_INSTANCE_ID None "another member joined with the same group.instance.id";
    87 INVALID_RECORD None "the broker refuses a record (a compacted topic wants keys)";
    88 UNSTABLE_OFFSET_COMMIT Retry "a transaction that commits offsets is not finished yet";
    89 THROTTLING_QUOTA_EXCEEDED Retry "the quota for such requests is used up";
    90 PRODUCER_FENCED None "a newer producer with the same transactional id has taken over";
    100 UNKNOWN_TOPIC_ID RefreshMetadata "the broker does not know this topic id";
    103 INCONSISTENT_TOPIC_ID RefreshMetadata "the broker's partition has another topic id";
    106 FETCH_SESSION_TOPIC_ID_ERROR Retry "the fetch session was begun with topic names, and this request has ids";
    110 FENCED_MEMBER_EPOCH None "the group has fenced this member";
    111 UNRELEASED_INSTANCE_ID None "the instance id is still in use in the group";
    112 UNSUPPORTED_ASSIGNOR None "the group does not have this assignor";
    113 STALE_MEMBER_EPOCH None "the member's epoch is not the group's";
    120 TRANSACTION_ABORTABLE None "the broker no longer takes anything into the transaction, which has to be aborted";
}

impl ErrorCode {
    /// `Ok` for 0, the error otherwise.
    pub fn check(code: i16) -> Result<(), Self> {
        match code {
            0 => Ok(()),
            code => Err(Self(code)),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name}, {})", self.meaning(), self.0),
            None => write!(f, "{} ({})", self.meaning(), self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "ErrorCode({})", self.0),
        }
    }
}

impl std::error::Error for ErrorCode {}

/// Why a broker gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection could be made: nothing was sent.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// What answered is not a Kafka broker, or closed the connection at once: nothing of the caller's was sent.
    #[error(
        "{address} accepts connections but does not answer as a Kafka broker: {reason} (another service on this port, or a listener that wants TLS?)"
    )]
    NotKafka {
        /// Host and port.
        address: String,
        /// What it did instead.
        reason: String,
    },
    /// The broker and this client have no version of the API in common: nothing was sent.
    #[error("{address} has no version of {api} that this program knows ({min} to {max})")]
    Unsupported {
        /// Host and port.
        address: String,
        /// The API's name.
        api: &'static str,
        /// Our lowest version.
        min: i16,
        /// Our highest version.
        max: i16,
    },
    /// No answer in time. The request may have been carried out.
    #[error("{address} did not answer {api} within {} ms (Kafka.RequestTimeoutMs)", after.as_millis())]
    TimedOut {
        /// Host and port.
        address: String,
        /// The API's name.
        api: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// The connection broke. The request may have been carried out.
    #[error("the connection to {address} broke during {api}: {reason}")]
    Disconnected {
        /// Host and port.
        address: String,
        /// The API's name.
        api: &'static str,
        /// What broke it.
        reason: String,
    },
    /// An answer came, but it is not what the protocol says.
    #[error("{address} answered {api} with bytes that are not such an answer: {source}")]
    Malformed {
        /// Host and port.
        address: String,
        /// The API's name.
        api: &'static str,
        /// What is wrong with them.
        source: DecodeError,
    },
    /// No broker with this id is known: nothing was sent.
    #[error("broker {node} is not in the cluster's metadata")]
    UnknownNode {
        /// The broker's id.
        node: i32,
    },
}

impl CallError {
    /// Whether the broker may have carried out the request.
    pub fn possibly_sent(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Disconnected { .. } | Self::Malformed { .. } => true,
            Self::Connect { .. }
            | Self::NotKafka { .. }
            | Self::Unsupported { .. }
            | Self::UnknownNode { .. } => false,
        }
    }
}
