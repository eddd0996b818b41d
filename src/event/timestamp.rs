//! Instants as text: RFC 3339 as we write it, and what KafkaStockFlow and others write, kept to the letter.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};
use compact_str::CompactString;

use super::Timestamp;

/// The longest text taken as a time, in bytes.
pub const MAX_TIMESTAMP_BYTES: usize = 40;

impl Timestamp {
    /// A date and a time of day (`T` or a blank between them), a fraction of a second or none, and a zone (`Z` or an
    /// offset) or none, which is taken as UTC. The text is kept as it is. `None` when it is no such thing.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() > MAX_TIMESTAMP_BYTES || !matches!(bytes.get(10)?, b'T' | b't' | b' ') {
            return None;
        }
        let local = date(bytes.get(..10)?)?.and_time(time_of_day(bytes.get(11..19)?)?);
        let (fraction, zone) = fraction(bytes.get(19..)?)?;
        let offset = offset(zone)?;
        let instant = (local + TimeDelta::nanoseconds(fraction)).checked_sub_signed(offset)?;
        Some(Self {
            text: CompactString::from(text),
            instant: instant.and_utc(),
        })
    }
}

impl From<DateTime<Utc>> for Timestamp {
    /// RFC 3339 with `Z`; the fraction in milliseconds, microseconds or nanoseconds, where there is one.
    fn from(instant: DateTime<Utc>) -> Self {
        let mut text = [b'0'; 30];
        let year = u32::try_from(instant.year()).unwrap_or(0).min(9999);
        digits(&mut text[0..4], year);
        text[4] = b'-';
        digits(&mut text[5..7], instant.month());
        text[7] = b'-';
        digits(&mut text[8..10], instant.day());
        text[10] = b'T';
        digits(&mut text[11..13], instant.hour());
        text[13] = b':';
        digits(&mut text[14..16], instant.minute());
        text[16] = b':';
        digits(&mut text[17..19], instant.second());
        let nanos = instant.nanosecond().min(999_999_999);
        let end = match nanos {
            0 => 19,
            _ if nanos.is_multiple_of(1_000_000) => 23,
            _ if nanos.is_multiple_of(1_000) => 26,
            _ => 29,
        };
        if end > 19 {
            text[19] = b'.';
            // All nine; what is too much gives way to the zone.
            digits(&mut text[20..29], nanos);
        }
        text[end] = b'Z';
        Self {
            // In one piece: a character at a time would be a copy each.
            text: std::str::from_utf8(&text[..=end])
                .unwrap_or_default()
                .into(),
            instant,
        }
    }
}

/// A calendar date, `YYYY-MM-DD`.
pub fn date(bytes: &[u8]) -> Option<NaiveDate> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *bytes else {
        return None;
    };
    let year = number(&[y0, y1, y2, y3])?;
    NaiveDate::from_ymd_opt(
        i32::try_from(year).ok()?,
        number(&[m0, m1])?,
        number(&[d0, d1])?,
    )
}

/// A wall clock's date and time, `YYYY-MM-DD HH:MM:SS`.
pub fn local_time(bytes: &[u8]) -> Option<NaiveDateTime> {
    if *bytes.get(10)? != b' ' {
        return None;
    }
    Some(date(bytes.get(..10)?)?.and_time(time_of_day(bytes.get(11..)?)?))
}

fn time_of_day(bytes: &[u8]) -> Option<chrono::NaiveTime> {
    let [h0, h1, b':', m0, m1, b':', s0, s1] = *bytes else {
        return None;
    };
    chrono::NaiveTime::from_hms_opt(number(&[h0, h1])?, number(&[m0, m1])?, number(&[s0, s1])?)
}

/// Nanoseconds of an optional `.fraction`, and what follows it; digits beyond the ninth have no weight.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = bytes.strip_prefix(b".") else {
        return Some((0, bytes));
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, zone) = rest.split_at_checked(length)?;
    if digits.is_empty() {
        return None;
    }
    let nanos = (0..9).fold(0, |nanos, at| {
        nanos * 10 + digits.get(at).map_or(0, |digit| i64::from(digit - b'0'))
    });
    Some((nanos, zone))
}

fn offset(zone: &[u8]) -> Option<TimeDelta> {
    let [sign, h0, h1, b':', m0, m1] = *zone else {
        return matches!(zone, [] | b"Z" | b"z").then(TimeDelta::zero);
    };
    let (hours, minutes) = (number(&[h0, h1])?, number(&[m0, m1])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = TimeDelta::minutes(i64::from(hours * 60 + minutes));
    match sign {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))
    })
}

fn digits(out: &mut [u8], mut number: u32) {
    for place in out.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use chrono::SecondsFormat;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zones_and_fractions() {
        let instant = |text: &str| {
            Timestamp::parse(text)
                .map(|time| time.instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        };
        for (text, expected) in [
            ("2025-11-06T20:59:00Z", "2025-11-06T20:59:00Z"),
            ("2025-11-06T20:59:00", "2025-11-06T20:59:00Z"),
            ("2025-11-06 20:59:00", "2025-11-06T20:59:00Z"),
            (
                "2025-11-06T20:59:00.1234567",
                "2025-11-06T20:59:00.123456700Z",
            ),
            (
                "2025-11-06T20:59:00.1234567891Z",
                "2025-11-06T20:59:00.123456789Z",
            ),
            ("2025-11-06T20:59:00.5-05:00", "2025-11-07T01:59:00.500Z"),
            ("2025-11-06T20:59:00+01:30", "2025-11-06T19:29:00Z"),
        ] {
            assert_eq!(instant(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "2025-11-06",
            "2025-11-06T25:61:00",
            "2025-02-30T00:00:00",
            "2025-11-06T20:59",
            "2025-11-06T20:59:00.Z",
            "2025-11-06T20:59:00+1:00",
            "2025-11-06T20:59:00+01:60",
            "2025-11-06T20:59:00 UTC",
            "+025-11-06T20:59:00",
        ] {
            assert_eq!(instant(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0_i64..253_402_300_799, nanos in prop_oneof![Just(0_u32), (0_u32..1000).prop_map(|n| n * 1_000_000), 0_u32..1_000_000_000]) {
            let instant = DateTime::from_timestamp(seconds, nanos).expect("in range");
            let written = Timestamp::from(instant);
            let expected = instant.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            prop_assert_eq!(written.text.as_str(), expected.as_str());
            prop_assert_eq!(Timestamp::parse(&written.text), Some(written));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*|[-0-9T:.+Z ]{0,42}") {
            let _ = Timestamp::parse(&text);
            let _ = local_time(text.as_bytes());
        }
    }
}
