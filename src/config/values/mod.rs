//! The values that settings have, and how each is read from text and shown.

pub(super) mod choice;
mod codec;
mod host;
mod limit;
mod pipe;
pub(super) mod secret;

pub(super) use choice::bare;
pub use choice::{
    AutoOffsetReset, BadRecords, Choice, Column, Compression, CompressionType, Entitlement,
    FileDate, Function, GroupProtocol, Interval, IsolationLevel, Level, LogFormat, OutputSize,
    PartitionAssignmentStrategy, Partitioner, Publish, SecurityProtocol, SourceKind,
};
pub use codec::Kind;
pub(super) use codec::{
    Codec, Raw, Reject, base_url, choice, decimal, directory, distinct, files, flag, host_ports,
    millis, name, one_of, optional_choice, optional_decimal, optional_file_part, optional_text,
    optional_topic, optional_whole, request_limit, seconds, secret, symbols, time_zone, topic,
    whole,
};
pub use host::HostPort;
pub use limit::RequestLimit;
pub(super) use pipe::is_named_pipe;
pub use secret::{Secret, SecretError, is_placeholder};
