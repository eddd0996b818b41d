//! Answers in all their forms.

use super::*;
use crate::wire::messages::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

fn single(error_code: i16, offset: i64) -> OffsetFetchResponse {
    OffsetFetchResponse {
        topics: vec![OffsetFetchResponseTopic {
            name: "t".into(),
            partitions: vec![OffsetFetchResponsePartition {
                partition_index: 1,
                committed_offset: offset,
                committed_leader_epoch: -1,
                metadata: None,
                error_code,
            }],
        }],
        ..Default::default()
    }
}

fn named() -> Named {
    Named::new("t", Some(Uuid::from_u128(7)), false)
}

#[test]
fn reads_both_forms_of_an_answer() {
    let batched = OffsetFetchResponse {
        groups: vec![OffsetFetchResponseGroup {
            group_id: "g".into(),
            topics: vec![OffsetFetchResponseTopics {
                name: "t".into(),
                partitions: vec![OffsetFetchResponsePartitions {
                    partition_index: 1,
                    committed_offset: 5,
                    committed_leader_epoch: 2,
                    metadata: Some("batch 9".into()),
                    error_code: 0,
                }],
                ..Default::default()
            }],
            error_code: 0,
        }],
        ..Default::default()
    };
    let read_batched = read(batched, &named(), &[0, 1]).unwrap();
    assert_eq!(read_batched[&0], Committed::default());
    assert_eq!(
        read_batched[&1],
        Committed {
            offset: Some(5),
            leader_epoch: Some(2),
            metadata: "batch 9".into()
        }
    );
    let read_single = read(single(0, 5), &named(), &[1]).unwrap();
    assert_eq!(read_single[&1].offset, Some(5));
    assert_eq!(read_single[&1].leader_epoch, None);
    assert_eq!(
        read(single(0, -1), &named(), &[1]).unwrap()[&1],
        Committed::default()
    );
}

#[test]
fn tells_a_groups_error_from_a_partitions() {
    let refused = single(29, -1);
    assert_eq!(whole(&refused), Ok(()));
    assert_eq!(
        read(refused, &named(), &[1]),
        Err((1, ErrorCode::TOPIC_AUTHORIZATION_FAILED))
    );
    let refused = OffsetFetchResponse {
        error_code: 30,
        ..Default::default()
    };
    assert_eq!(whole(&refused), Err(ErrorCode::GROUP_AUTHORIZATION_FAILED));
    let nobody = OffsetFetchResponse {
        error_code: 69,
        ..Default::default()
    };
    assert_eq!(whole(&nobody), Ok(()));
    assert_eq!(
        read(nobody, &named(), &[1]).unwrap()[&1],
        Committed::default()
    );
}
