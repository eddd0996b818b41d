//! `stockflow group`.

use crate::cli::common::place;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::command::Command;
use super::common::{FormatArgument, KafkaArguments, one};
use crate::commands::{GroupAction, ResetTo};
use crate::config::Override;

const EXAMPLES: &str = "\
Examples:
  stockflow group list                             which groups there are
  stockflow group describe -g archive              members, and the lag of each partition
  stockflow group reset --to earliest              says what would be done
  stockflow group reset --to earliest --execute    does it
  stockflow group reset --by-duration 2h -t stock-trades -g archive
  stockflow group reset -p 3 --to 1042             one partition alone
  stockflow group delete archive";

/// Consumer groups: members and lag, offsets reset, groups deleted
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Which groups there are, classic and KIP-848
    #[command(after_help = EXAMPLES)]
    List(Common),
    /// Members, and the lag of each partition with the age of what waits
    #[command(after_help = EXAMPLES)]
    Describe(Named),
    /// Move a group's offsets of a topic; only says what would be done without --execute
    #[command(after_help = EXAMPLES)]
    Reset(Reset),
    /// Delete a group with its offsets; refused while it is active
    #[command(after_help = EXAMPLES)]
    Delete(Named),
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    format: FormatArgument,
}

#[derive(Debug, Args)]
struct Named {
    /// The group, as -g [Kafka.GroupId]
    #[arg(value_name = "GROUP", conflicts_with = "group")]
    name: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Reset {
    #[command(flatten)]
    target: Target,
    /// Only this partition
    #[arg(short, long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..), conflicts_with = "from_file")]
    partition: Option<i32>,
    /// Do it
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    named: Named,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// earliest, latest, an offset, or a time: 2025-11-06, 2025-11-06T20:59:00Z (UTC where it has no zone)
    #[arg(long, value_name = "WHERE", value_parser = place)]
    to: Option<ResetTo>,
    /// So many records forwards, or backwards where negative
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// To what is not older than this: 90s, 30m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    by_duration: Option<Duration>,
    /// To what a file says: lines of topic,partition,offset, as kafka-consumer-groups.sh exports them
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number with s, m, h or d, such as 90s or 2h".to_owned();
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match text.get(digits.len()..) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

impl Target {
    fn get(self) -> ResetTo {
        let by_shift = self.shift_by.map(ResetTo::Shift);
        let by_duration = self.by_duration.map(ResetTo::Ago);
        let from_file = self.from_file.map(ResetTo::File);
        self.to
            .or(by_shift)
            .or(by_duration)
            .or(from_file)
            // The usage demands one of them.
            .unwrap_or(ResetTo::Shift(0))
    }
}

impl Named {
    fn overrides(&self) -> Vec<Override> {
        let name = one("Kafka.GroupId", "GROUP", self.name.as_ref());
        self.common.kafka.overrides().chain(name).collect()
    }
}

impl Arguments {
    pub(super) fn split(self) -> (Command, Vec<Override>) {
        let (action, format, overrides) = match self.command {
            Commands::List(common) => {
                let overrides = common.kafka.overrides().collect();
                (GroupAction::List, common.format, overrides)
            }
            Commands::Describe(named) => {
                let overrides = named.overrides();
                (GroupAction::Describe, named.common.format, overrides)
            }
            Commands::Delete(named) => {
                let overrides = named.overrides();
                (GroupAction::Delete, named.common.format, overrides)
            }
            Commands::Reset(reset) => {
                let overrides = reset.named.overrides();
                let action = GroupAction::Reset {
                    to: reset.target.get(),
                    partition: reset.partition,
                    execute: reset.execute,
                };
                (action, reset.named.common.format, overrides)
            }
        };
        (Command::Group(action, format.get()), overrides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_durations_are_read() {
        assert_eq!(place("Earliest"), Ok(ResetTo::Earliest));
        assert_eq!(place("42"), Ok(ResetTo::Offset(42)));
        assert!(place("-1").is_err());
        let second = Ok(ResetTo::Since(1_762_462_740_000));
        assert_eq!(place("2025-11-06T20:59:00Z"), second);
        assert_eq!(place("2025-11-06T21:59:00+01:00"), second);
        assert_eq!(place("2025-11-06T20:59:00"), second);
        assert_eq!(place("2025-11-06"), Ok(ResetTo::Since(1_762_387_200_000)));
        assert!(place("yesterday").is_err());
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "h", "2", "2 h", "-1s", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
