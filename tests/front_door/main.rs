//! Tests through the front door: the real binary, in a directory of its own, against real brokers.

mod alpha_vantage;
mod chaos;
mod config;
mod dark;
mod errors;
mod faults;
mod files;
mod foreign_clients;
mod groups;
mod limits;
mod made_anew;
mod own_ca;
mod pipeline;
mod proxy;
mod replay;
mod restarts;
mod secrets;
mod storm;
mod support;
mod transactions;
mod verify;
