//! What a commit carries beside its offset, so that recovery can tell whose it is: `stockflow/1 dir=UUID batch=N`,
//! some 70 bytes of the 4,096 that brokers allow (`offset.metadata.max.bytes`).

use uuid::Uuid;

/// The directory and batch that a commit was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) directory: Uuid,
    pub(super) batch: u64,
}

impl Author {
    pub(super) fn encode(self) -> String {
        format!("stockflow/1 dir={} batch={}", self.directory, self.batch)
    }

    /// `None` when the commit is another program's.
    pub(super) fn decode(metadata: &str) -> Option<Self> {
        let (directory, batch) = metadata
            .strip_prefix("stockflow/1 dir=")?
            .split_once(" batch=")?;
        Some(Self {
            directory: directory.parse().ok()?,
            batch: batch.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_form_is_ours() {
        let author = Author {
            directory: Uuid::from_u128(7),
            batch: u64::MAX,
        };
        assert_eq!(Author::decode(&author.encode()), Some(author));
        for foreign in [
            "",
            "x",
            "stockflow/1 dir=7 batch=x",
            "stockflow/2 dir=00000000-0000-0000-0000-000000000007 batch=1",
        ] {
            assert_eq!(Author::decode(foreign), None);
        }
    }
}
