//! Numbers and durations, within bounds.

use std::time::Duration;

use serde_json::{Number, Value};

use super::super::limit::RequestLimit;
use super::{Codec, Kind, Raw, Reject, optional_of, scalar, show_optional};

fn whole_number(kind: &Kind, raw: &Raw) -> Result<u64, Reject> {
    let text = scalar(kind, raw)?;
    match (kind, text.parse::<u64>()) {
        (Kind::Whole { min, max, .. }, Ok(number)) if (*min..=*max).contains(&number) => Ok(number),
        _ => Err(kind.wrong(text)),
    }
}

fn decimal_number(kind: &Kind, raw: &Raw) -> Result<f64, Reject> {
    let text = scalar(kind, raw)?;
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(kind.wrong(text)),
    }
}

fn show_decimal(number: &f64) -> Value {
    // A whole number is shown as one, as it was most likely written.
    if number.fract() == 0.0 && *number < 1e15 {
        Value::from(*number as u64)
    } else {
        Number::from_f64(*number).map_or(Value::Null, Value::Number)
    }
}

/// A whole number within bounds.
pub(in crate::config) const fn whole(min: u64, max: u64, unit: &'static str) -> Codec<u64> {
    Codec {
        kind: Kind::Whole { min, max, unit },
        parse: whole_number,
        show: |number| Value::from(*number),
    }
}

/// A whole number, or nothing.
pub(in crate::config) const fn optional_whole() -> Codec<Option<u64>> {
    Codec {
        kind: Kind::Whole {
            min: 0,
            max: u64::MAX,
            unit: "",
        },
        parse: |kind, raw| optional_of(whole_number, kind, raw),
        show: |number| Value::from(*number),
    }
}

/// A number above zero.
pub(in crate::config) const fn decimal() -> Codec<f64> {
    Codec {
        kind: Kind::Decimal,
        parse: decimal_number,
        show: show_decimal,
    }
}

/// A number above zero, or nothing.
pub(in crate::config) const fn optional_decimal() -> Codec<Option<f64>> {
    Codec {
        kind: Kind::Decimal,
        parse: |kind, raw| optional_of(decimal_number, kind, raw),
        show: |number| show_optional(show_decimal, number),
    }
}

/// A duration in milliseconds.
pub(in crate::config) const fn millis(min: u64, max: u64) -> Codec<Duration> {
    Codec {
        kind: Kind::Whole {
            min,
            max,
            unit: "ms",
        },
        parse: |kind, raw| whole_number(kind, raw).map(Duration::from_millis),
        show: |duration| Value::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// A duration in seconds.
pub(in crate::config) const fn seconds(min: u64, max: u64) -> Codec<Duration> {
    Codec {
        kind: Kind::Whole {
            min,
            max,
            unit: "s",
        },
        parse: |kind, raw| whole_number(kind, raw).map(Duration::from_secs),
        show: |duration| Value::from(duration.as_secs()),
    }
}

/// A number of requests; 0 is unlimited, `auto` is what the key has.
pub(in crate::config) const fn request_limit() -> Codec<RequestLimit> {
    Codec {
        kind: Kind::Text("auto, or a whole number of requests (0 is unlimited)"),
        parse: |kind, raw| {
            let text = scalar(kind, raw)?;
            if text.eq_ignore_ascii_case("auto") {
                return Ok(RequestLimit::Auto);
            }
            match text.parse() {
                Ok(0) => Ok(RequestLimit::Unlimited),
                Ok(number) => Ok(RequestLimit::Of(number)),
                Err(_) => Err(kind.wrong(text)),
            }
        },
        show: |limit| match limit {
            RequestLimit::Auto => Value::from("auto"),
            RequestLimit::Unlimited => Value::from(0),
            RequestLimit::Of(number) => Value::from(*number),
        },
    }
}
