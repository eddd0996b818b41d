//! Requests as bytes: every version of every API, and bytes that nobody would send.

use proptest::prelude::*;

use super::*;
use crate::{
    broker::coordinator::Coordinator,
    wire::messages::{decode, encode},
};

fn shared() -> Shared {
    Shared {
        cluster_id: "test".to_owned(),
        advertise: None,
        default_partitions: 1,
        min_session_timeout: Duration::from_secs(6),
        topics: Mutex::new(Topics::new(1 << 20)),
        appended: Notify::new(),
        coordinator: Coordinator::default(),
        next_producer_id: AtomicI64::new(0),
    }
}

fn somebody() -> api::Client {
    let address = SocketAddr::from(([127, 0, 0, 1], 9092));
    api::Client {
        peer: address,
        local: address,
    }
}

pub(super) fn request_frame(key: i16, version: i16, flexible: bool, body: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7_i32.to_be_bytes());
    frame.extend((-1_i16).to_be_bytes());
    if flexible {
        frame.push(0);
    }
    frame.extend_from_slice(body);
    frame.into()
}

/// Asks in every version, and decodes the answer as a client would.
async fn all_versions<R: Request + Default>() {
    let shared = shared();
    for number in R::MIN_VERSION..=R::MAX_VERSION {
        let version = R::version(number);
        let mut body = Vec::new();
        encode(&R::default(), version, &mut body);
        let frame = request_frame(R::KEY, number, version.flexible, &body);
        let answer = api::answer(&shared, &somebody(), frame).await;
        let answer = match answer {
            Ok(answer) => Bytes::from(answer.unwrap_or_default()),
            Err(refused) => panic!("{} {number}: {refused}", R::NAME),
        };
        if answer.is_empty() {
            assert_eq!(R::KEY, ProduceRequest::KEY, "only acks=0 has no answer");
            continue;
        }
        let flexible = version.flexible && R::KEY != ApiVersionsRequest::KEY;
        assert_eq!(&answer[4..8], 7_i32.to_be_bytes());
        let body = answer.slice(8 + usize::from(flexible)..);
        let decoded = decode::<R::Response>(body, version);
        assert!(decoded.is_ok(), "{} {number}", R::NAME);
    }
}

#[tokio::test]
async fn every_version_is_answered() {
    all_versions::<ProduceRequest>().await;
    all_versions::<FetchRequest>().await;
    all_versions::<ListOffsetsRequest>().await;
    all_versions::<MetadataRequest>().await;
    all_versions::<OffsetCommitRequest>().await;
    all_versions::<OffsetFetchRequest>().await;
    all_versions::<FindCoordinatorRequest>().await;
    all_versions::<JoinGroupRequest>().await;
    all_versions::<HeartbeatRequest>().await;
    all_versions::<LeaveGroupRequest>().await;
    all_versions::<SyncGroupRequest>().await;
    all_versions::<DescribeGroupsRequest>().await;
    all_versions::<ListGroupsRequest>().await;
    all_versions::<ApiVersionsRequest>().await;
    all_versions::<CreateTopicsRequest>().await;
    all_versions::<DeleteTopicsRequest>().await;
    all_versions::<InitProducerIdRequest>().await;
}

/// librdkafka's `list_topics`, ListGroups and ApiVersions send such bytes, and Kafka ignores them.
#[tokio::test]
async fn bytes_behind_a_request_are_ignored() {
    async fn answered<R: Request + Default>() {
        for number in R::MIN_VERSION..=R::MAX_VERSION {
            let version = R::version(number);
            let mut body = Vec::new();
            encode(&R::default(), version, &mut body);
            body.extend([0; 5]);
            let frame = request_frame(R::KEY, number, version.flexible, &body);
            let answer = api::answer(&shared(), &somebody(), frame).await;
            assert!(matches!(answer, Ok(Some(_))), "{} {number}", R::NAME);
        }
    }
    answered::<MetadataRequest>().await;
    answered::<ListGroupsRequest>().await;
    answered::<ApiVersionsRequest>().await;
}

#[tokio::test]
async fn a_newer_client_learns_the_versions() {
    let frame = request_frame(ApiVersionsRequest::KEY, 99, true, b"whatever it has become");
    let answer = api::answer(&shared(), &somebody(), frame).await;
    let answer = Bytes::from(answer.unwrap().unwrap());
    let version = ApiVersionsRequest::version(0);
    let response: ApiVersionsResponse = decode(answer.slice(8..), version).unwrap();
    assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    let produce = response.api_keys.iter().find(|api| api.api_key == 0);
    assert_eq!(
        produce.map(|api| (api.min_version, api.max_version)),
        Some((0, 12))
    );
}

proptest! {
    /// No bytes make it panic. (What waits is given up: that it waits is fine.)
    #[test]
    fn any_bytes_are_survived(
        requests in proptest::collection::vec(
            (0_i16..24, 0_i16..13, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)),
            1..10,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let shared = shared();
        runtime.block_on(async {
            for (key, version, flexible, body) in requests {
                let frame = request_frame(key, version, flexible, &body);
                let somebody = somebody();
                let answer = api::answer(&shared, &somebody, frame);
                timeout(Duration::from_millis(2), answer).await.ok();
            }
        });
    }
}
