//! The civil date of a timestamp (RFC 3339, section 5.6, and its zone-less form), found without making an instant of it.

use chrono::{Datelike, Days, NaiveDate};

/// The UTC date of `YYYY-MM-DD(T| )HH:MM:SS[.fraction][Z|±HH:MM]` (RFC 3339, and its zone-less form), and whether it
/// says its zone. A second of 60 is a leap second and good.
pub(super) fn civil_date(text: &str) -> Option<(NaiveDate, bool)> {
    let bytes = text.as_bytes();
    let (head, tail) = bytes.split_at_checked(19)?;
    let number = |from: usize, len: usize| {
        head.get(from..from + len)?.iter().try_fold(0_u32, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0'))
        })
    };
    let stands = |at: usize, any: &[u8]| head.get(at).is_some_and(|b| any.contains(b));
    if !(stands(4, b"-")
        && stands(7, b"-")
        && stands(10, b"Tt ")
        && stands(13, b":")
        && stands(16, b":"))
    {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(number(0, 4)?).ok()?,
        number(5, 2)?,
        number(8, 2)?,
    )?;
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let zone = match tail.strip_prefix(b".") {
        Some(fraction) => match fraction.iter().take_while(|b| b.is_ascii_digit()).count() {
            0 => return None,
            digits => fraction.get(digits..)?,
        },
        None => tail,
    };
    match zone {
        [] => Some((date, false)),
        [b'Z' | b'z'] => Some((date, true)),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) =>
        {
            let two = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let (hours, minutes) = (two(h1, h2), two(m1, m2));
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 };
            let utc = i64::from(hour * 60 + minute) - offset;
            let date = match utc.div_euclid(24 * 60) {
                0 => date,
                1 => date.checked_add_days(Days::new(1))?,
                _ => date.checked_sub_days(Days::new(1))?,
            };
            // A file's name has four digits for the year.
            (0..=9999).contains(&date.year()).then_some((date, true))
        }
        _ => None,
    }
}
