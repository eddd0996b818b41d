//! `stockflow tail`.

use clap::Args;

use super::common::{FormatArgument, KafkaArguments, one, place};
use crate::commands::{ResetTo, TailFrom, TailOptions};
use crate::config::Override;

const EXAMPLES: &str = "\
Examples:
  stockflow tail                                   the last 10 events, then what comes
  stockflow tail -n 3                              the last 3 that are there
  stockflow tail -n 3 -p 0 -f                      the last 3 of partition 0, then what comes
  stockflow tail -n 0 -f                           only what comes
  stockflow tail --from 2025-11-06T20:59:00Z --count 100
  stockflow tail --from earliest --format json | head
  stockflow tail --dead-letters --out trades       what was no trade, and why
  stockflow tail --dead-letters --from earliest --format json > repaired.ndjson";

/// Show the last events and follow
///
/// Shows the last 10 events of the topic, then those that come; with --count, what is there now. Reads outside of any group and commits nothing. Records
/// that are no trades are shown as such.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Begin at earliest, latest, an offset, or a time: 2025-11-06, 2025-11-06T20:59:00Z (UTC where it has no zone)
    #[arg(long, value_name = "WHERE", value_parser = from)]
    from: Option<TailFrom>,
    /// Show N of what is there now, or all where there are fewer, and end: the last N, or with --from the first N from
    /// there; 0 shows nothing of it, which with --follow leaves what comes
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// Follow: go on with what comes, also after --count
    #[arg(short, long)]
    follow: bool,
    /// Show this partition alone; of dead letters, those of records that were in it
    #[arg(short, long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Show dead letters: those in the files of --out, and those on Output.DeadLetterTopic where it is set; of files, a time
    /// given with --from counts by the day
    #[arg(long)]
    dead_letters: bool,
    /// Directory of the dead letters files [Output.Directory]
    #[arg(
        long,
        value_name = "DIR",
        requires = "dead_letters",
        help_heading = "Output"
    )]
    out: Option<String>,
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    format: FormatArgument,
}

fn from(text: &str) -> Result<TailFrom, String> {
    match place(text)? {
        ResetTo::Earliest => Ok(TailFrom::Earliest),
        ResetTo::Latest => Ok(TailFrom::Latest),
        ResetTo::Offset(offset) => Ok(TailFrom::Offset(offset)),
        ResetTo::Since(time) => Ok(TailFrom::Since(time)),
        ResetTo::Shift(_) | ResetTo::Ago(_) | ResetTo::File(_) => {
            Err("expected earliest, latest, an offset or a time".to_owned())
        }
    }
}

impl Arguments {
    pub(super) fn options(&self) -> TailOptions {
        TailOptions {
            from: self.from,
            count: self.count,
            follow: self.follow,
            partition: self.partition,
            dead_letters: self.dead_letters,
            format: self.format.get(),
        }
    }

    pub(super) fn overrides(&self) -> Vec<Override> {
        let out = one("Output.Directory", "--out", self.out.as_ref());
        out.into_iter().chain(self.kafka.overrides()).collect()
    }
}
