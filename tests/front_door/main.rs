//! Tests through the front door: the real binary, in a directory of its own, against real brokers.

mod alpha_vantage;
mod config;
mod errors;
mod foreign_clients;
mod own_ca;
mod pipeline;
mod support;
