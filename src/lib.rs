//! The map of the house.
//!
//! One static binary that moves market trades through Kafka into CSV files, and loses or doubles none of them.
//!
//! ```text
//!  market data                                                                      files
//!      │                                                                              ▲
//!   source ──► event ──► producer ──► wire ──►  Kafka  ──► wire ──► consumer ──► event ──► sink
//!                                       │                              ▲                    │
//!                                       └── rskafka's Messenger        └── durable offsets ◄┘
//! ```
//!
//! | room | what it is for | whom it may call |
//! | --- | --- | --- |
//! | [`cli`] | arguments, one file a subcommand | `config`, `commands`, `pipeline` |
//! | [`commands`] | what one command does: `tail`, `bench`, `check`, `group`, `verify`, `demo` | every room but `cli` |
//! | [`config`] | the typed, validated configuration and where each value came from | nobody |
//! | [`pipeline`] | wires a produce, consume or run pipeline, and stops it | every room but `cli`, `commands` and `verify` |
//! | [`source`] | market data: Alpha Vantage, replayed files, a simulated market | `event`, `net`, `clock` |
//! | [`event`] | the TradeEvent: its JSON, its identity, what makes it good; pure | `short_copy` |
//! | [`dedup`] | which events the topic already holds | `event`, `producer`, `consumer`, `wire`, `durable` |
//! | [`producer`] | partitions, batches and sends records, exactly once and in order | `wire` |
//! | [`consumer`] | group membership, fetching, offsets | `wire` |
//! | [`verify`] | the proof that CSV files hold every record once | `sink` (the format on disk), `durable` |
//! | [`sink`] | CSV files that hold every record exactly once | `event`, `short_copy`, `durable` |
//! | [`broker`] | the embedded broker: memory only, for `demo`, `broker` and the tests | `wire` |
//! | [`admin`] | groups seen from outside: lag, offset reset | `wire`, `consumer` |
//! | [`durable`] | files that survive a crash, and the simulated disk that proves it | nobody |
//! | [`net`] | TLS without C | nobody |
//! | [`clock`] | the time of day, and waiting for it | nobody |
//! | [`short_copy`] | short texts, appended without a call of `memcpy`; pure | nobody |
//! | [`wire`] | Kafka's protocol: messages, record batches, connections, the cluster | `short_copy`; the only room that names rskafka |
//!
//! `tests/rooms.rs` reads the `use` lines and holds this table; `tests/folders.rs` finds circles among folders.

pub mod admin;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod consumer;
pub mod dedup;
pub mod durable;
pub mod event;
pub mod net;
pub mod pipeline;
pub mod producer;
pub mod short_copy;
pub mod sink;
pub mod source;
pub mod verify;
pub mod wire;
