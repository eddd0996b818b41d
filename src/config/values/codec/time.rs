//! Time zones, by their names in the IANA database.

use chrono_tz::Tz;
use serde_json::Value;

use super::{Codec, Kind, scalar};

/// A zone of the IANA database, `America/New_York` say.
pub(in crate::config) const fn time_zone() -> Codec<Tz> {
    Codec {
        kind: Kind::Text("a time zone of the IANA database, such as America/New_York or UTC"),
        parse: |kind, raw| {
            let text = scalar(kind, raw)?;
            chrono_tz::TZ_VARIANTS
                .into_iter()
                .find(|zone| zone.name().eq_ignore_ascii_case(text))
                .ok_or_else(|| kind.wrong(text))
        },
        show: |zone| Value::from(zone.name()),
    }
}
