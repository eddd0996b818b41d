//! What the arguments ask for.

use crate::commands::{
    BenchOptions, BrokerOptions, CheckOptions, DemoOptions, GroupAction, TailOptions, VerifyOptions,
};
use crate::config::Config;
use crate::pipeline::{ConsumeOptions, Format, ProduceOptions, RunOptions};
/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Market data into Kafka.
    Produce(ProduceOptions),
    /// Kafka into CSV files.
    Consume(ConsumeOptions),
    /// Both.
    Run(RunOptions),
    /// Both, with a broker and a market of its own.
    Demo(DemoOptions),
    /// The embedded broker alone.
    Broker(BrokerOptions),
    /// The last events, and what comes.
    Tail(TailOptions),
    /// Directories are proven to hold every record once.
    Verify(VerifyOptions),
    /// A load test.
    Bench(BenchOptions),
    /// Consumer groups, looked at or changed.
    Group(GroupAction, Format),
    /// Whether everything that a run needs is there.
    Check(CheckOptions),
    /// What is in force, and where it was set.
    ConfigShow(Format),
}

/// What is to be done, and with which configuration.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The checked configuration.
    pub config: Config,
    /// The command.
    pub command: Command,
}
