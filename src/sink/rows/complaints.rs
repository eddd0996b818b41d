//! How often a bad record is worth a line of the log: the first of its kind at once, then the sum of what came since, once
//! a minute. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::event::{BadRecord, ReasonCounts};

/// How long nothing is said of a kind that was spoken of.
const QUIET: TimeDelta = TimeDelta::minutes(1);

/// What has been said of bad records.
#[derive(Debug, Default)]
pub(in crate::sink) struct Complaints {
    counts: ReasonCounts,
    kinds: Vec<Kind>,
}

#[derive(Debug)]
struct Kind {
    label: &'static str,
    said: DateTime<Utc>,
    unsaid: u64,
}

impl Complaints {
    /// Counts a bad record; how many of its kind there were since the last line, this one with them, when a line is due.
    pub(in crate::sink) fn due(&mut self, reason: BadRecord, now: DateTime<Utc>) -> Option<u64> {
        let label = reason.label();
        if self.counts.count(reason) == 0 {
            self.kinds.push(Kind {
                label,
                said: now,
                unsaid: 0,
            });
            return Some(1);
        }
        let kind = self.kinds.iter_mut().find(|kind| kind.label == label)?;
        kind.unsaid += 1;
        if now - kind.said < QUIET {
            return None;
        }
        kind.said = now;
        Some(std::mem::take(&mut kind.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_told_and_then_the_sum_once_a_minute() {
        let start = DateTime::from_timestamp(1_770_000_000, 0).unwrap();
        let at = |seconds| start + TimeDelta::seconds(seconds);
        let mut complaints = Complaints::default();
        assert_eq!(complaints.due(BadRecord::NotJson, at(0)), Some(1));
        for second in 1..60 {
            assert_eq!(complaints.due(BadRecord::NotJson, at(second)), None);
        }
        assert_eq!(complaints.due(BadRecord::BadSide, at(59)), Some(1));
        assert_eq!(complaints.due(BadRecord::NotJson, at(60)), Some(60));
        assert_eq!(complaints.due(BadRecord::NotJson, at(61)), None);
    }
}
