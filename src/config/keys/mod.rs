//! The keys: a row a key, from which parsing, `config show`, suggestions and errors follow; and the rules between keys.

mod check;
mod read;
mod sections;
mod show;

pub(super) use check::{between, origin_of, source};
pub use read::Entry;
pub(super) use read::Reader;
pub use sections::{AlphaVantage, Kafka, Logging, Output, Process, Simulated, Source, State};
pub(super) use sections::{SchemaRegistry, Server, TABLE};
