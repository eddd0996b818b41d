//! What all that speaks over the network outside Kafka's own protocol shares: TLS without a line of C.

mod tls;

pub(crate) use tls::client_config;
