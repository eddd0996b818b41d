//! Kafka's protocol: the only room that names rskafka.

pub mod messages;
