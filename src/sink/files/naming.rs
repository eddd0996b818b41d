//! The names of the files: `consumed_trades_YYYY-MM-DD[.INSTANCE][.NNNN].csv` and
//! `dead_letters_YYYY-MM-DD[.INSTANCE][.NNNN].ndjson`.
//!
//! Invariant: a new file gets a name that no file has, ours or not; parts count upwards.

use std::io;

use chrono::NaiveDate;

/// What a file is for: it takes the rows, or the dead letters, of one date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Purpose {
    pub(in crate::sink) kind: Kind,
    pub(in crate::sink) date: NaiveDate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::sink) enum Kind {
    Trades,
    DeadLetters,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Trades => "consumed_trades",
            Self::DeadLetters => "dead_letters",
        }
    }
}

impl Purpose {
    /// Part 0 has no number in its name.
    pub(in crate::sink) fn name(self, instance: Option<&str>, part: u32) -> String {
        let mut name = self.stem(instance);
        if part > 0 {
            name.push_str(&format!(".{part:04}"));
        }
        name + self.extension()
    }

    /// The part that a name stands for, when the name is one of this purpose.
    pub(in crate::sink) fn part(self, instance: Option<&str>, name: &str) -> Option<u32> {
        match name
            .strip_prefix(&self.stem(instance))?
            .strip_suffix(self.extension())?
        {
            "" => Some(0),
            part => part.strip_prefix('.')?.parse().ok(),
        }
    }

    /// The purpose and part that a name stands for.
    pub(in crate::sink) fn of(instance: Option<&str>, name: &str) -> Option<(Self, u32)> {
        [Kind::Trades, Kind::DeadLetters]
            .into_iter()
            .find_map(|kind| {
                let rest = name.strip_prefix(kind.as_str())?.strip_prefix('_')?;
                let purpose = Self {
                    kind,
                    date: rest.get(..10)?.parse().ok()?,
                };
                Some((purpose, purpose.part(instance, name)?))
            })
    }

    /// The part after `last` whose name no file has.
    pub(in crate::sink) fn free_part(
        self,
        instance: Option<&str>,
        last: Option<u32>,
        mut taken: impl FnMut(&str) -> io::Result<bool>,
    ) -> io::Result<u32> {
        let mut part = last.map_or(0, |part| part.saturating_add(1));
        while taken(&self.name(instance, part))? {
            part = part
                .checked_add(1)
                .ok_or_else(|| io::Error::other("no part number is free"))?;
        }
        Ok(part)
    }

    /// The name that a file of ours would have in the index, when this is a name that ours have: of any instance and part,
    /// compressed or not.
    pub(crate) fn any(name: &str) -> Option<&str> {
        let plain = [".gz", ".zst"]
            .into_iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let mut kinds = [Kind::Trades, Kind::DeadLetters].into_iter();
        kinds.find_map(|kind| {
            let rest = plain.strip_prefix(kind.as_str())?.strip_prefix('_')?;
            let date = rest.get(..10)?.parse().ok()?;
            let rest = rest
                .get(10..)?
                .strip_suffix(Self { kind, date }.extension())?;
            let mut words = rest.split('.');
            // Before the first dot there is nothing.
            let nothing = words.next()?.is_empty();
            let mut word = words.next();
            if word.is_some_and(is_instance) {
                word = words.next();
            }
            let is_part = |word: &str| word.parse::<u32>().is_ok();
            (nothing && word.is_none_or(is_part) && words.next().is_none()).then_some(plain)
        })
    }

    pub(in crate::sink) fn stem(self, instance: Option<&str>) -> String {
        let kind = self.kind.as_str();
        match instance {
            Some(instance) => format!("{kind}_{}.{instance}", self.date),
            None => format!("{kind}_{}", self.date),
        }
    }

    fn extension(self) -> &'static str {
        match self.kind {
            Kind::Trades => ".csv",
            Kind::DeadLetters => ".ndjson",
        }
    }
}

/// Whether an instance can stand in a file's name and never be taken for a part number.
pub(in crate::sink) fn is_instance(instance: &str) -> bool {
    (1..=64).contains(&instance.len())
        && instance
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        && !instance.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a file holds dead letters.
pub(crate) fn is_letters(name: &str) -> bool {
    name.rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with("dead_letters_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_parts_agree() {
        let purpose = Purpose {
            kind: Kind::Trades,
            date: NaiveDate::from_ymd_opt(2025, 11, 6).unwrap(),
        };
        assert_eq!(purpose.name(None, 0), "consumed_trades_2025-11-06.csv");
        assert_eq!(
            purpose.name(Some("eu-1"), 12),
            "consumed_trades_2025-11-06.eu-1.0012.csv"
        );
        for (instance, part) in [(None, 0), (None, 1), (Some("a"), 0), (Some("a"), 10_000)] {
            let name = purpose.name(instance, part);
            assert_eq!(purpose.part(instance, &name), Some(part));
            assert_eq!(Purpose::of(instance, &name), Some((purpose, part)));
        }
        assert_eq!(purpose.part(None, "consumed_trades_2025-11-06.a.csv"), None);
        assert_eq!(purpose.part(None, "consumed_trades_2025-11-07.csv"), None);
        assert_eq!(Purpose::of(None, "consumed_trades_2025-11-06.a.csv"), None);
        for (name, plain) in [
            ("consumed_trades_2025-11-06.csv", true),
            ("consumed_trades_2025-11-06.0001.csv", true),
            ("consumed_trades_2025-11-06.eu-1.csv", true),
            ("consumed_trades_2025-11-06.eu-1.0012.csv.gz", true),
            ("dead_letters_2025-11-06.ndjson.zst", true),
            ("consumed_trades_2025-11-06.csv.bak", false),
            ("consumed_trades_2025-11-06.a.b.csv", false),
            ("consumed_trades_2025-11-06x.csv", false),
            ("consumed_trades_2025-13-06.csv", false),
            ("consumed_trades_2025-11-06.ndjson", false),
            ("other.csv", false),
        ] {
            let found = Purpose::any(name);
            assert_eq!(found.is_some(), plain, "{name}");
            assert!(found.is_none_or(|plain| name.starts_with(plain)));
        }
        let taken = [
            "consumed_trades_2025-11-06.csv",
            "consumed_trades_2025-11-06.0001.csv",
        ];
        assert_eq!(
            purpose
                .free_part(None, None, |name| Ok(taken.contains(&name)))
                .unwrap(),
            2
        );
    }

    #[test]
    fn an_instance_is_a_plain_word() {
        assert!(is_instance("eu-1") && is_instance("a_B"));
        assert!(
            !is_instance("") && !is_instance("0001") && !is_instance("../x") && !is_instance("a.b")
        );
    }
}
