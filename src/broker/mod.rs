//! The embedded Kafka broker: memory only, for `stockflow demo`, `stockflow broker` and the tests.
