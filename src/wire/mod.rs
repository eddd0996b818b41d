//! Kafka's protocol: the only room that names rskafka.
//!
//! ```text
//!  cluster      brokers, leaders, coordinators; connections by broker and lane, made again with a jittered pause
//!     │
//!  connection   one broker: rskafka's Messenger frames, correlates and pipelines; time limits; versions
//!     │     └── messages   one table of Kafka's APIs: structs, encoder, decoder
//!  transport    the byte stream: TCP, one write a frame, a switch that closes it
//!
//!  records      record batches inside Produce and Fetch, encoded and decoded in place
//!  features     what the brokers have agreed on
//!  error        Kafka's error codes, their remedies; why a call has no answer
//! ```

pub mod cluster;
pub mod connection;
pub mod error;
mod features;
pub mod messages;
pub mod records;
mod transport;
