//! The table against the crate `kafka-protocol`: for every message and version, what ours encodes it decodes to the same
//! fields and values and encodes to the same bytes, and ours decodes those back.
//!
//! Values are compared by their `Debug` form, because both name the fields as Kafka does: a field of the table under
//! another field's name, or two of one type in the wrong order, is found too.

use bytes::{Buf, Bytes};
use kafka_protocol::{
    messages as theirs,
    protocol::{Decodable, Encodable, Message},
};
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use uuid::Uuid;

use super::*;

/// A random value as it may stand in a message of a version.
pub(super) trait Sample: Sized {
    fn sample(random: &mut Pcg64Mcg, version: Version) -> Self;
}

macro_rules! sample_integers {
    ($($type:ty),*) => { $(
        impl Sample for $type {
            fn sample(random: &mut Pcg64Mcg, _version: Version) -> Self {
                random.next_u64() as $type
            }
        }
    )* };
}
sample_integers!(i8, i16, u16, i32, i64);

impl Sample for bool {
    fn sample(random: &mut Pcg64Mcg, _version: Version) -> Self {
        random.random()
    }
}

impl Sample for Uuid {
    fn sample(random: &mut Pcg64Mcg, _version: Version) -> Self {
        Uuid::from_u128(random.random())
    }
}

impl Sample for Str {
    fn sample(random: &mut Pcg64Mcg, _version: Version) -> Self {
        // Two bytes are not letters in a Debug form; lengths around 127 change a compact length's size.
        let length = [0, 1, 5, 126, 127, 200][random.random_range(0..6)];
        (0..length)
            .map(|_| char::from(random.random_range(b'a'..=b'z')))
            .collect::<String>()
            .into()
    }
}

impl Sample for Bytes {
    fn sample(random: &mut Pcg64Mcg, version: Version) -> Self {
        Str::sample(random, version).into_bytes()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(random: &mut Pcg64Mcg, version: Version) -> Self {
        (0..random.random_range(0..3))
            .map(|_| T::sample(random, version))
            .collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(random: &mut Pcg64Mcg, version: Version) -> Self {
        (random.random_range(0..4) > 0).then(|| T::sample(random, version))
    }
}

impl<T: Sample> Sample for Nullable<T> {
    fn sample(random: &mut Pcg64Mcg, version: Version) -> Self {
        Self(Option::sample(random, version))
    }
}

/// A `Debug` form, taken apart.
#[derive(Debug, PartialEq)]
enum Form {
    Struct(Vec<(String, Form)>),
    List(Vec<Form>),
    Null,
    Leaf(String),
}

impl Form {
    fn of(value: &impl std::fmt::Debug) -> Self {
        let text = format!("{value:?}");
        let mut rest = text.as_str();
        let form = Self::parse(&mut rest);
        assert_eq!(rest, "", "the Debug form {text} was not read to its end");
        form
    }

    fn parse(rest: &mut &str) -> Self {
        if let Some(inner) = rest.strip_prefix("Some(") {
            *rest = inner;
            let form = Self::parse(rest);
            *rest = rest.strip_prefix(')').expect("an end of Some");
            return form;
        }
        if let Some(after) = rest.strip_prefix('[') {
            *rest = after;
            let mut items = Vec::new();
            while !rest.starts_with(']') {
                items.push(Self::parse(rest));
                *rest = rest.strip_prefix(", ").unwrap_or(rest);
            }
            *rest = &rest[1..];
            return Self::List(items);
        }
        if rest.starts_with('"') || rest.starts_with("b\"") {
            let start = rest.find('"').expect("a quote") + 1;
            let end = start + rest[start..].find('"').expect("a closing quote");
            let leaf = rest[start..end].to_owned();
            *rest = &rest[end + 1..];
            return Self::Leaf(leaf);
        }
        let end = rest.find([',', ']', '}', ')', '{']).unwrap_or(rest.len());
        let word = rest[..end].trim().to_owned();
        *rest = &rest[end..];
        if let Some(inner) = rest.strip_prefix('{') {
            *rest = inner;
            let mut fields = Vec::new();
            loop {
                *rest = rest.trim_start_matches([' ', ',']);
                if let Some(after) = rest.strip_prefix('}') {
                    *rest = after;
                    return Self::Struct(fields);
                }
                let colon = rest.find(": ").expect("a field's name");
                let name = rest[..colon].to_owned();
                *rest = &rest[colon + 2..];
                fields.push((name, Self::parse(rest)));
            }
        }
        // A struct without fields has no braces.
        match word.as_str() {
            "None" => Self::Null,
            word if word.starts_with(char::is_uppercase) => Self::Struct(Vec::new()),
            _ => Self::Leaf(word),
        }
    }

    /// Every field of ours is theirs too, by name and value. Theirs has more: fields of versions that are not in the
    /// table, and unknown tagged fields.
    fn agree(&self, theirs: &Self, path: &str) {
        match (self, theirs) {
            (Self::Struct(ours), Self::Struct(theirs)) => {
                for (name, value) in ours {
                    let (_, other) = theirs
                        .iter()
                        .find(|(other, _)| other == name)
                        .unwrap_or_else(|| panic!("{path}.{name} is not a field of Kafka's"));
                    value.agree(other, &format!("{path}.{name}"));
                }
            }
            (Self::List(ours), Self::List(theirs)) => {
                assert_eq!(ours.len(), theirs.len(), "{path}");
                for (ours, theirs) in ours.iter().zip(theirs) {
                    ours.agree(theirs, path);
                }
            }
            // A field that the version does not have: null in our type, empty in theirs. Where the version has the
            // field and both are possible, the bytes tell them apart.
            (Self::Null, Self::List(theirs)) if theirs.is_empty() => {}
            (Self::Null, Self::Leaf(theirs)) if theirs.is_empty() => {}
            (ours, theirs) => assert_eq!(ours, theirs, "{path}"),
        }
    }
}

/// One message in one version, both ways. Null and empty are one where a version has no null, so only bytes decide there.
fn agree<O, T>(seed: u64, number: i16, version: Version)
where
    O: Field + Sample + std::fmt::Debug + PartialEq,
    T: Encodable + Decodable + std::fmt::Debug,
{
    let name = std::any::type_name::<O>();
    let ours = O::sample(&mut Pcg64Mcg::seed_from_u64(seed), version);
    let mut bytes = Vec::new();
    encode(&ours, version, &mut bytes);
    let bytes = Bytes::from(bytes);

    let mut rest = bytes.clone();
    let theirs = T::decode(&mut rest, number)
        .unwrap_or_else(|error| panic!("{name} v{number}: they cannot decode {ours:?}: {error}"));
    assert_eq!(
        rest.remaining(),
        0,
        "{name} v{number}: they leave bytes of {ours:?}"
    );
    Form::of(&ours).agree(&Form::of(&theirs), &format!("{name} v{number}"));

    let mut again = bytes::BytesMut::new();
    theirs
        .encode(&mut again, number)
        .unwrap_or_else(|error| panic!("{name} v{number}: they cannot encode {theirs:?}: {error}"));
    assert_eq!(again.freeze(), bytes, "{name} v{number}: other bytes");
    assert_eq!(
        decode::<O>(bytes.clone(), version).expect("ours decodes what ours encodes"),
        ours,
        "{name} v{number}"
    );

    // Cut and damaged bodies are errors or other messages, never a panic.
    let cut = bytes.slice(..(seed as usize) % (bytes.len() + 1));
    let _ = decode::<O>(cut, version);
    let mut damaged = bytes.to_vec();
    if let Some(byte) = damaged.get_mut((seed >> 8) as usize % bytes.len().max(1)) {
        *byte ^= (seed >> 32) as u8;
        let _ = decode::<O>(damaged.into(), version);
    }
}

macro_rules! agree_with_the_oracle {
    ($($test:ident: $request:ident $response:ident $(, from $own:literal)? $(, and $by_id:literal)?;)*) => { $(
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(24))]
            #[test]
            fn $test(seed: u64) {
                for number in ($request::MIN_VERSION..=$request::MAX_VERSION)$(.chain([$by_id]))? {
                    let version = $request::version(number);
                    if number < <theirs::$request as Message>::VERSIONS.min {
                        // Versions that Kafka 4 has dropped and its crate with it.
                        prop_assert!([$($own)?].contains(&<theirs::$request as Message>::VERSIONS.min));
                        continue;
                    }
                    agree::<$request, theirs::$request>(seed, number, version);
                    agree::<$response, theirs::$response>(seed, number, version);
                }
            }
        }
    )* };
}

agree_with_the_oracle! {
    produce: ProduceRequest ProduceResponse, from 3;
    fetch: FetchRequest FetchResponse, and 13;
    list_offsets: ListOffsetsRequest ListOffsetsResponse;
    metadata: MetadataRequest MetadataResponse;
    offset_commit: OffsetCommitRequest OffsetCommitResponse;
    offset_fetch: OffsetFetchRequest OffsetFetchResponse;
    find_coordinator: FindCoordinatorRequest FindCoordinatorResponse;
    join_group: JoinGroupRequest JoinGroupResponse;
    sync_group: SyncGroupRequest SyncGroupResponse;
    heartbeat: HeartbeatRequest HeartbeatResponse;
    leave_group: LeaveGroupRequest LeaveGroupResponse;
    describe_groups: DescribeGroupsRequest DescribeGroupsResponse;
    list_groups: ListGroupsRequest ListGroupsResponse;
    api_versions: ApiVersionsRequest ApiVersionsResponse;
    create_topics: CreateTopicsRequest CreateTopicsResponse;
    init_producer_id: InitProducerIdRequest InitProducerIdResponse;
    delete_topics: DeleteTopicsRequest DeleteTopicsResponse;
    describe_configs: DescribeConfigsRequest DescribeConfigsResponse;
    offset_for_leader_epoch: OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse;
    add_partitions_to_txn: AddPartitionsToTxnRequest AddPartitionsToTxnResponse;
    end_txn: EndTxnRequest EndTxnResponse;
    consumer_group_heartbeat: ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse;
    consumer_group_describe: ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse;
    delete_groups: DeleteGroupsRequest DeleteGroupsResponse;
}

/// The versions that the crate no longer has, by hand: Produce 0 to 2 are version 3 without its new fields.
#[test]
fn produce_before_version_3() {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 5,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![PartitionProduceData {
                index: 7,
                records: Some(Bytes::from_static(b"xy")),
            }],
        }],
        ..Default::default()
    };
    let mut bytes = Vec::new();
    encode(&request, ProduceRequest::version(2), &mut bytes);
    let expected = [
        &[0xff, 0xff, 0, 0, 0, 5, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1][..],
        &[0, 0, 0, 7, 0, 0, 0, 2, b'x', b'y'],
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(
        decode::<ProduceRequest>(bytes.into(), ProduceRequest::version(2)),
        Ok(request)
    );
}

/// A length that promises more than there is must not be believed (a client that does so can be made to allocate 400 GB).
#[test]
fn promised_lengths_are_not_believed() {
    let mut bytes = 0i32.to_be_bytes().to_vec();
    bytes.extend(i32::MAX.to_be_bytes());
    bytes.push(0);
    let error = decode::<MetadataResponse>(bytes.into(), MetadataRequest::version(3));
    assert!(
        matches!(
            error,
            Err(DecodeError::TooShort {
                field: "MetadataResponse.brokers",
                ..
            })
        ),
        "{error:?}"
    );
}

/// The crate does not know the versions that name a topic by its id (Kafka 4.1): they differ from those before in that.
#[test]
fn offsets_by_topic_id_differ_in_the_name_alone() {
    fn swapped<B: Field + Default>(by_name: &B, by_id: &B) {
        let version = |number| Version {
            number,
            flexible: true,
        };
        let (mut old, mut new) = (Vec::new(), Vec::new());
        encode(by_name, version(9), &mut old);
        encode(by_id, version(10), &mut new);
        // A compact string: its length and one, then its bytes.
        let at = memchr::memmem::find(&old, b"\x07trades").expect("the name");
        let expected = [&old[..at], &[7; 16], &old[at + 7..]].concat();
        assert_eq!(new, expected);
    }
    let id = Uuid::from_bytes([7; 16]);
    let commit = |name: &str, topic_id| OffsetCommitRequest {
        group_id: "g".into(),
        topics: vec![OffsetCommitRequestTopic {
            name: name.into(),
            topic_id,
            partitions: vec![OffsetCommitRequestPartition::default()],
        }],
        ..Default::default()
    };
    swapped(&commit("trades", Uuid::nil()), &commit("", id));
    let fetch = |name: &str, topic_id| OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            topics: Some(vec![OffsetFetchRequestTopics {
                name: name.into(),
                topic_id,
                partition_indexes: vec![3],
            }]),
            ..Default::default()
        }],
        ..Default::default()
    };
    swapped(&fetch("trades", Uuid::nil()), &fetch("", id));
}
