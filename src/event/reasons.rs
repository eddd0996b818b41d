//! How often each reason kept a record from being a trade.

use super::BadRecord;

/// A count for each kind of [`BadRecord`], by its [label](BadRecord::label).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasonCounts([u64; BadRecord::LABELS.len()]);

impl ReasonCounts {
    /// Counts one record; how many there were of its kind before.
    pub fn count(&mut self, reason: BadRecord) -> u64 {
        let known = BadRecord::LABELS
            .iter()
            .position(|label| *label == reason.label());
        match known.and_then(|at| self.0.get_mut(at)) {
            Some(count) => std::mem::replace(count, *count + 1),
            None => 0,
        }
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// The kinds that were met, by label, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        BadRecord::LABELS
            .into_iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_count_of_its_own() {
        let all = [
            BadRecord::NotUtf8,
            BadRecord::NotJson,
            BadRecord::NotAnObject,
            BadRecord::MissingField("Symbol"),
            BadRecord::DuplicateField("Symbol"),
            BadRecord::BadTradeId,
            BadRecord::BadSymbol,
            BadRecord::BadSide,
            BadRecord::BadQuantity,
            BadRecord::BadPrice,
            BadRecord::BadTimestamp,
            BadRecord::TooLarge { size: 2, limit: 1 },
        ];
        let mut counts = ReasonCounts::default();
        for reason in all {
            assert_eq!(counts.count(reason), 0, "{reason}");
            assert_eq!(counts.count(reason), 1, "{reason}");
        }
        assert_eq!(
            counts.iter().collect::<Vec<_>>(),
            all.map(|reason| (reason.label(), 2))
        );
        let mut twice = counts;
        twice.add(&counts);
        assert!(twice.iter().all(|(_, count)| count == 4));
    }
}
