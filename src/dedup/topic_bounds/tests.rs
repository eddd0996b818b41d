//! What an answer may say.

use super::*;
use crate::wire::messages::{LeaderEpochEndOffset, OffsetForLeaderTopicResult};

fn answer(topic: &str, ends: &[(i32, i64)]) -> OffsetForLeaderEpochResponse {
    let partitions = ends
        .iter()
        .map(|&(partition, end_offset)| LeaderEpochEndOffset {
            partition,
            end_offset,
            ..Default::default()
        });
    OffsetForLeaderEpochResponse {
        topics: vec![OffsetForLeaderTopicResult {
            topic: topic.into(),
            partitions: partitions.collect(),
        }],
        ..Default::default()
    }
}

#[test]
fn an_answer_counts_only_for_what_was_asked() {
    let take = |topic, ends: &[(i32, i64)]| {
        let mut found = Offsets::new();
        take("trades", &[0, 2], &answer(topic, ends), &mut found).map(|()| found)
    };
    assert_eq!(
        take("trades", &[(2, 7), (0, 5)]),
        Ok(Offsets::from([(0, 5), (2, 7)]))
    );
    for (topic, ends) in [
        ("trades", &[(0, 5)][..]),
        ("trades", &[(0, 5), (2, 7), (3, 1)]),
        ("trades", &[(0, 5), (0, 5), (2, 7)]),
        ("trades", &[(0, 5), (3, 7)]),
        ("tradet", &[(0, 5), (2, 7)]),
    ] {
        let taken = take(topic, ends);
        assert!(matches!(taken, Err(Trouble::Passing(_))), "{taken:?}");
    }
}
