//! How many requests a key may use: a second, a minute, a day. Pure.

use chrono::TimeDelta;
use chrono_tz::Tz;

/// What free keys have: requests a minute and a day.
pub(in crate::source::alpha_vantage) const FREE_MINUTE: u32 = 5;
pub(in crate::source::alpha_vantage) const FREE_DAY: u32 = 25;

/// What the smallest paid plan has in a minute; none has a limit a day.
const PAID_MINUTE: u32 = 75;

/// Added to the windows of a second and a minute, against delays that differ on the way.
const SLACK_PERCENT: i32 = 5;

/// A limit as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The free limit, until the key proves to be a paid one.
    Auto,
    /// No limit.
    Unlimited,
    /// So many requests.
    Of(u32),
}

/// The limits that are in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::source::alpha_vantage) struct Limits {
    /// The least distance of two requests.
    pub(in crate::source::alpha_vantage) gap: TimeDelta,
    pub(in crate::source::alpha_vantage) minute: Option<u32>,
    pub(in crate::source::alpha_vantage) day: Option<u32>,
    pub(in crate::source::alpha_vantage) zone: Tz,
}

impl Limits {
    /// `paid` is whether the key has proved to be a paid one.
    pub(in crate::source::alpha_vantage) fn new(
        per_second: f64,
        minute: Limit,
        day: Limit,
        paid: bool,
        zone: Tz,
    ) -> Self {
        let of = |limit, free, paid_limit| match limit {
            Limit::Auto if paid => paid_limit,
            Limit::Auto => Some(free),
            Limit::Unlimited => None,
            Limit::Of(number) => Some(number),
        };
        let micros = (1e6 / per_second).clamp(0.0, 86_400e6) as i64;
        Self {
            gap: with_slack(TimeDelta::microseconds(micros)),
            minute: of(minute, FREE_MINUTE, Some(PAID_MINUTE)),
            day: of(day, FREE_DAY, None),
            zone,
        }
    }
}

/// A window, with what delays on the way may add to it.
pub(in crate::source::alpha_vantage) fn with_slack(span: TimeDelta) -> TimeDelta {
    span * (100 + SLACK_PERCENT) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_free_until_the_key_proves_to_be_paid() {
        let limits = |minute, day, paid| {
            let limits = Limits::new(1.0, minute, day, paid, chrono_tz::America::New_York);
            (limits.minute, limits.day)
        };
        assert_eq!(limits(Limit::Auto, Limit::Auto, false), (Some(5), Some(25)));
        assert_eq!(limits(Limit::Auto, Limit::Auto, true), (Some(75), None));
        assert_eq!(
            limits(Limit::Unlimited, Limit::Of(500), true),
            (None, Some(500))
        );
    }
}
