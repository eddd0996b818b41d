//! What is known of a key between runs: requests used up, refusals learnt, months that were filled back. Pure; `ledger` keeps
//! it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::budget::Spent;

/// For how long a refusal is believed: plans change.
const REFUSAL_HOLDS: TimeDelta = TimeDelta::days(30);

/// What is known of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::source::alpha_vantage) struct KeyState {
    /// Requests used up.
    pub(in crate::source::alpha_vantage) spent: Spent,
    /// The key has proved to be a paid one.
    pub(in crate::source::alpha_vantage) paid: bool,
    /// Functions and parameters that need a better plan, by name, and when that was learnt.
    pub(in crate::source::alpha_vantage) refused: BTreeMap<String, DateTime<Utc>>,
    /// When each symbol was asked for last.
    pub(in crate::source::alpha_vantage) asked: BTreeMap<String, DateTime<Utc>>,
    /// Months whose events are all on their topic: per destination and series, symbol and month.
    pub(in crate::source::alpha_vantage) filled: BTreeMap<String, BTreeSet<String>>,
}

/// How many symbols are remembered.
const MAX_ASKED: usize = 10_000;

impl KeyState {
    /// Notes that the symbol is asked for.
    pub(in crate::source::alpha_vantage) fn ask(&mut self, symbol: &str, now: DateTime<Utc>) {
        if self.asked.len() >= MAX_ASKED {
            self.asked.clear();
        }
        self.asked.insert(symbol.to_owned(), now);
    }

    /// When it was learnt that the key may not use this, unless that is too long ago to be believed.
    pub(in crate::source::alpha_vantage) fn refused(
        &self,
        what: &str,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        self.refused
            .get(what)
            .copied()
            // Not from a clock that was ahead by more than a day, or it would be believed for years.
            .filter(|at| (TimeDelta::days(-1)..REFUSAL_HOLDS).contains(&(now - *at)))
    }

    /// Whether months are kept under one of these names of a destination.
    pub(in crate::source::alpha_vantage) fn keeps_as(&self, former: &[String]) -> bool {
        self.filled
            .keys()
            .any(|key| series_of(key, former).is_some())
    }

    /// Keeps under `name` what is kept under former names of the same destination.
    pub(in crate::source::alpha_vantage) fn rename(&mut self, former: &[String], name: &str) {
        let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.filled)
            .into_iter()
            .partition(|(key, _)| series_of(key, former).is_some());
        self.filled = new;
        for (key, months) in old {
            if let Some(series) = series_of(&key, former) {
                let key = format!("{name} {series}");
                self.filled.entry(key).or_default().extend(months);
            }
        }
    }
}

/// What follows the name of a destination in the name of a series.
fn series_of<'a>(key: &'a str, destinations: &[String]) -> Option<&'a str> {
    destinations
        .iter()
        .find_map(|name| key.strip_prefix(name.as_str())?.strip_prefix(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_believed_for_a_month() {
        let mut known = KeyState::default();
        let now = Utc::now();
        known.refused.insert("intraday".to_owned(), now);
        assert_eq!(
            known.refused("intraday", now + TimeDelta::days(29)),
            Some(now)
        );
        assert_eq!(known.refused("intraday", now + TimeDelta::days(31)), None);
        assert_eq!(known.refused("intraday", now - TimeDelta::days(9)), None);
    }

    #[test]
    fn a_series_follows_its_destination_to_its_new_name() {
        let mut known = KeyState::default();
        let month = |name: &str| BTreeSet::from([name.to_owned()]);
        for (key, of) in [
            ("t of a:1 daily", "IBM 2025-01"),
            ("t of cluster x daily", "IBM 2025-02"),
            ("t of a:1,b:1 daily", "IBM 2025-03"),
        ] {
            known.filled.insert(key.to_owned(), month(of));
        }
        let former = ["t of a:1".to_owned(), "t of cluster x".to_owned()];
        assert!(known.keeps_as(&former));
        known.rename(&former, "t (id) of cluster x");
        assert!(!known.keeps_as(&former));
        let kept: Vec<_> = known.filled.iter().collect();
        let both = ["IBM 2025-01", "IBM 2025-02"].map(str::to_owned).into();
        assert_eq!(
            kept,
            [
                (&"t (id) of cluster x daily".to_owned(), &both),
                (&"t of a:1,b:1 daily".to_owned(), &month("IBM 2025-03")),
            ]
        );
    }
}
