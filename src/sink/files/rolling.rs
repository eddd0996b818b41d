//! When a file takes no more lines, beside its size: decided from what is known of it and the time. Pure.
//!
//! A closed file is never opened again; what comes later for its day goes to the next part. So a file is closed early
//! only where that has a use: because it is so old (`Output.RollSeconds`), or because closing publishes or compresses it.
//! Such a file is closed when its day is over and nothing came for a while: late events are mostly not very late.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

use super::super::settings::{Compression, FileDate, Publish, Settings};
use super::super::state::FileState;
use super::naming::{Kind, Purpose};

/// How long, in seconds, nothing has come for a day that is over before its file is closed.
pub(in crate::sink) const QUIET: i64 = 600;

/// When, in seconds since 1970, the file of a purpose is due to be closed, should nothing more come; `None`: never.
pub(in crate::sink) fn closes_at(
    settings: &Settings,
    purpose: Purpose,
    state: &FileState,
) -> Option<i64> {
    let rolls = purpose.kind == Kind::Trades;
    let age = settings.roll.age.filter(|_| rolls).map(|age| {
        let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        state.begun.saturating_add(seconds)
    });
    let closing_matters =
        rolls && (settings.publish == Publish::Atomic || settings.compression != Compression::None);
    // A day of the calendar comes once, a day of the events again and again.
    let by_clock = !rolls || settings.file_date == FileDate::Processing;
    let over = (closing_matters || by_clock)
        .then(|| ends_at(purpose.date).max(state.written.saturating_add(QUIET)));
    age.into_iter().chain(over).min()
}

/// The end of a day in UTC, in seconds since 1970.
fn ends_at(date: NaiveDate) -> i64 {
    let next = date.checked_add_days(Days::new(1)).unwrap_or(date);
    DateTime::<Utc>::from_naive_utc_and_offset(next.and_time(NaiveTime::MIN), Utc).timestamp()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sink::settings::Roll;

    #[test]
    fn a_file_is_closed_early_only_where_that_has_a_use() {
        let plain = crate::sink::tests::settings(std::path::Path::new("/"));
        let day = NaiveDate::from_ymd_opt(2026, 2, 2).unwrap();
        let trades = Purpose {
            kind: Kind::Trades,
            date: day,
        };
        let letters = Purpose {
            kind: Kind::DeadLetters,
            date: day,
        };
        let (noon, midnight) = (1_770_033_600, 1_770_076_800);
        let state = FileState {
            begun: noon,
            written: noon + 60,
            ..FileState::default()
        };
        let late = FileState {
            written: midnight + 5,
            ..state
        };
        assert_eq!(closes_at(&plain, trades, &state), None);
        assert_eq!(closes_at(&plain, letters, &state), Some(midnight));
        let age = Settings {
            roll: Roll {
                age: Some(Duration::from_secs(300)),
                bytes: None,
            },
            ..plain.clone()
        };
        assert_eq!(closes_at(&age, trades, &late), Some(noon + 300));
        assert_eq!(closes_at(&age, letters, &state), Some(midnight));
        for settings in [
            Settings {
                publish: Publish::Atomic,
                ..plain.clone()
            },
            Settings {
                compression: Compression::Zstd,
                ..plain.clone()
            },
            Settings {
                file_date: FileDate::Processing,
                ..plain
            },
        ] {
            assert_eq!(closes_at(&settings, trades, &state), Some(midnight));
            let quiet = midnight + 5 + QUIET;
            assert_eq!(closes_at(&settings, trades, &late), Some(quiet));
        }
    }
}
