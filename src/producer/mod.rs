//! Partitions, batches and sends records: none lost, none doubled, in order per key.
