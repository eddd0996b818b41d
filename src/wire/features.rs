//! What the brokers of a cluster have agreed on (KIP-584): a level a feature, which all of them speak. Pure.

use super::messages::ApiVersionsResponse;

/// The feature whose level says which transactions the brokers serve.
const TRANSACTION_VERSION: &str = "transaction.version";

/// The agreed levels, as a broker knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    /// What is newer has the higher one; -1 is a broker that does not say.
    epoch: i64,
    /// 2 is transactions whose partitions the brokers add themselves (KIP-890); 0 where there is no such feature.
    transaction: i16,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            epoch: -1,
            transaction: 0,
        }
    }
}

impl Features {
    pub(super) fn of(response: &ApiVersionsResponse) -> Self {
        let level = response
            .finalized_features
            .iter()
            .find(|feature| &*feature.name == TRANSACTION_VERSION)
            .map_or(0, |feature| feature.max_version_level);
        Self {
            epoch: response.finalized_features_epoch,
            transaction: level,
        }
    }

    /// Takes over what another broker says, unless it is older.
    pub(super) fn learn(&mut self, other: Self) {
        if other.epoch >= self.epoch {
            *self = other;
        }
    }

    pub(super) fn transaction(self) -> i16 {
        self.transaction
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::FinalizedFeatureKey;

    fn said(epoch: i64, level: i16) -> Features {
        Features::of(&ApiVersionsResponse {
            finalized_features_epoch: epoch,
            finalized_features: vec![
                FinalizedFeatureKey {
                    name: "metadata.version".into(),
                    max_version_level: 25,
                    min_version_level: 25,
                },
                FinalizedFeatureKey {
                    name: TRANSACTION_VERSION.into(),
                    max_version_level: level,
                    min_version_level: level,
                },
            ],
            ..Default::default()
        })
    }

    #[test]
    fn what_is_newer_counts_in_both_directions() {
        let mut known = Features::default();
        assert_eq!(known.transaction(), 0);
        known.learn(said(10, 1));
        known.learn(said(12, 2));
        // From a broker that lags behind.
        known.learn(said(10, 1));
        assert_eq!(known.transaction(), 2);
        known.learn(said(15, 1));
        assert_eq!(known.transaction(), 1);
        // From one that is of an older release, or has nothing to say yet.
        known.learn(Features::of(&ApiVersionsResponse::default()));
        assert_eq!(known.transaction(), 1);
    }
}
