//! Length of an intraday bar, as the service names it.

use std::str::FromStr;

use chrono::TimeDelta;

use crate::source::UnknownValue;

/// Length of an intraday bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// One minute.
    Min1,
    /// Five minutes.
    Min5,
    /// Fifteen minutes.
    Min15,
    /// Thirty minutes.
    Min30,
    /// An hour.
    Min60,
}

impl Interval {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Min1,
        Self::Min5,
        Self::Min15,
        Self::Min30,
        Self::Min60,
    ];

    /// As the service names it, `1min` say.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Min1 => "1min",
            Self::Min5 => "5min",
            Self::Min15 => "15min",
            Self::Min30 => "30min",
            Self::Min60 => "60min",
        }
    }

    /// From a bar's start to its end.
    pub const fn length(self) -> TimeDelta {
        TimeDelta::minutes(match self {
            Self::Min1 => 1,
            Self::Min5 => 5,
            Self::Min15 => 15,
            Self::Min30 => 30,
            Self::Min60 => 60,
        })
    }
}

impl FromStr for Interval {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        Self::ALL
            .into_iter()
            .find(|interval| interval.as_str().eq_ignore_ascii_case(text))
            .ok_or(UnknownValue("1min, 5min, 15min, 30min, 60min"))
    }
}
