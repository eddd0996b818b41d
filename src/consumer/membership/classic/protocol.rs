//! What members of a classic group tell one another through the broker, which does not read it:
//! `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment` of Kafka's schemas.
//!
//! Both begin with a version, and later versions only append; so what a newer client appended is passed over. Lengths are
//! checked against the bytes at hand by the message table's own reader.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::machine::Joining;
use crate::{
    consumer::assignor::{Assignor, Share},
    wire::messages::{DecodeError, Field, Reader, Str, Version},
};

/// Neither is flexible in any version; the number is in the bytes themselves.
const PLAIN: Version = Version {
    number: 0,
    flexible: false,
};

/// The version of a subscription that we write: with owned partitions, generation and rack; older clients read as much
/// of it as they know.
const SUBSCRIPTION_VERSION: i16 = 3;

/// The version of an assignment that we write.
const ASSIGNMENT_VERSION: i16 = 0;

/// What a member wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::consumer::membership) struct Subscription {
    /// The topics it subscribed to.
    pub(in crate::consumer::membership) topics: Vec<Str>,
    /// What its assignor tells itself.
    user_data: Option<Bytes>,
    /// What it owns, where its assignor makes use of that (version 1 on, KIP-429).
    pub(in crate::consumer::membership) owned: Share,
    /// In which generation it came to own that (version 2 on, KIP-792); -1 if never.
    pub(in crate::consumer::membership) generation: i32,
    /// The rack it is in (version 3 on, KIP-881).
    pub(in crate::consumer::membership) rack: Option<Str>,
}

impl Subscription {
    /// What the member had and in which generation, wherever the assignor of that name puts it: `sticky` into its user
    /// data, because it owns nothing when it joins; `cooperative-sticky` into the generation of its user data, before
    /// there was a field.
    pub(in crate::consumer::membership) fn had(&self, assignor: &str) -> (Share, i32) {
        let data = self.user_data.clone().map(Reader::new);
        let told = match assignor {
            "sticky" => data.and_then(|mut data| {
                let share = decode_share(&mut data).ok()?;
                // Java's first version had no generation.
                let generation = i32::decode(&mut data, PLAIN).unwrap_or(-1);
                Some((share, generation))
            }),
            "cooperative-sticky" if self.generation < 0 => data.and_then(|mut data| {
                Some((self.owned.clone(), i32::decode(&mut data, PLAIN).ok()?))
            }),
            _ => None,
        };
        told.unwrap_or_else(|| (self.owned.clone(), self.generation))
    }
}

struct TopicPartitions {
    topic: Str,
    partitions: Vec<i32>,
}

impl Field for TopicPartitions {
    fn encode(&self, out: &mut Vec<u8>, version: Version) {
        self.topic.encode(out, version);
        self.partitions.encode(out, version);
    }

    fn decode(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        Ok(Self {
            topic: Str::decode(reader, version)?,
            partitions: Vec::decode(reader, version)?,
        })
    }
}

fn encode_share(share: &Share, out: &mut Vec<u8>) {
    let topics: Vec<_> = share
        .iter()
        .map(|(topic, partitions)| TopicPartitions {
            topic: topic.clone(),
            partitions: partitions.clone(),
        })
        .collect();
    topics.encode(out, PLAIN);
}

fn decode_share(reader: &mut Reader) -> Result<Share, DecodeError> {
    let mut share = BTreeMap::new();
    for TopicPartitions { topic, partitions } in Vec::<TopicPartitions>::decode(reader, PLAIN)? {
        share
            .entry(topic)
            .or_insert_with(Vec::new)
            .extend(partitions);
    }
    Ok(share)
}

/// A subscription to one topic, for an assignor: what is kept, what was given last, and in which generation.
pub(in crate::consumer::membership) fn encode_subscription(
    topic: &Str,
    assignor: Assignor,
    joining: &Joining,
    rack: Option<&Str>,
) -> Bytes {
    let share = |partitions: &BTreeSet<i32>| {
        let partitions: Vec<i32> = partitions.iter().copied().collect();
        Share::from_iter((!partitions.is_empty()).then(|| (topic.clone(), partitions)))
    };
    let mut user_data = Vec::new();
    match assignor {
        Assignor::Range | Assignor::RoundRobin => {}
        Assignor::Sticky => {
            encode_share(&share(&joining.previous), &mut user_data);
            joining.generation.encode(&mut user_data, PLAIN);
        }
        Assignor::CooperativeSticky => joining.generation.encode(&mut user_data, PLAIN),
    }
    let user_data = (!user_data.is_empty()).then(|| Bytes::from(user_data));
    let mut out = Vec::new();
    SUBSCRIPTION_VERSION.encode(&mut out, PLAIN);
    vec![topic.clone()].encode(&mut out, PLAIN);
    user_data.encode(&mut out, PLAIN);
    encode_share(&share(&joining.owned), &mut out);
    joining.generation.encode(&mut out, PLAIN);
    rack.cloned().encode(&mut out, PLAIN);
    out.into()
}

/// Reads any version of a subscription.
pub(in crate::consumer::membership) fn decode_subscription(
    bytes: Bytes,
) -> Result<Subscription, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = i16::decode(&mut reader, PLAIN)?;
    let topics = Vec::<Str>::decode(&mut reader, PLAIN)?;
    let user_data = Option::<Bytes>::decode(&mut reader, PLAIN)?;
    let mut subscription = Subscription {
        topics,
        user_data,
        generation: -1,
        ..Subscription::default()
    };
    if version >= 1 {
        subscription.owned = decode_share(&mut reader)?;
    }
    if version >= 2 {
        subscription.generation = i32::decode(&mut reader, PLAIN)?;
    }
    if version >= 3 {
        subscription.rack = Option::<Str>::decode(&mut reader, PLAIN)?;
    }
    Ok(subscription)
}

/// One member's share.
pub(in crate::consumer::membership) fn encode_assignment(share: &Share) -> Bytes {
    let mut out = Vec::new();
    ASSIGNMENT_VERSION.encode(&mut out, PLAIN);
    encode_share(share, &mut out);
    None::<Bytes>.encode(&mut out, PLAIN);
    out.into()
}

/// Reads any version of an assignment. No bytes at all are no partitions: some leaders leave members out.
pub(in crate::consumer::membership) fn decode_assignment(
    bytes: Bytes,
) -> Result<Share, DecodeError> {
    if bytes.is_empty() {
        return Ok(Share::new());
    }
    let mut reader = Reader::new(bytes);
    let _version = i16::decode(&mut reader, PLAIN)?;
    let share = decode_share(&mut reader)?;
    let _user_data = Option::<Bytes>::decode(&mut reader, PLAIN)?;
    Ok(share)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_what_java_writes() {
        let joining = Joining {
            member_id: "m".into(),
            owned: BTreeSet::from([5]),
            previous: BTreeSet::from([5, 6]),
            generation: 7,
        };
        let encode = |assignor| encode_subscription(&"t".into(), assignor, &joining, None);
        assert_eq!(
            &encode(Assignor::CooperativeSticky)[..],
            b"\0\x03\0\0\0\x01\0\x01t\0\0\0\x04\0\0\0\x07\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x05\0\0\0\x07\xff\xff"
        );
        let sticky = decode_subscription(encode(Assignor::Sticky)).unwrap();
        assert_eq!(
            sticky.had("sticky"),
            (Share::from([("t".into(), vec![5, 6])]), 7)
        );
        assert_eq!(
            sticky.had("cooperative-sticky"),
            (Share::from([("t".into(), vec![5])]), 7)
        );
        let range = decode_subscription(encode(Assignor::Range)).unwrap();
        assert_eq!(range.user_data, None);
        let bytes = encode_assignment(&Share::from([("t".into(), vec![1])]));
        assert_eq!(
            &bytes[..],
            b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff"
        );
    }

    #[test]
    fn reads_every_version_and_what_follows_it() {
        // Version 0; 1 with an owned partition; 3 with generation and rack; 9, as if a later client appended a byte.
        let v0 = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff".to_vec();
        let mut v1 = v0.clone();
        v1[1] = 1;
        v1.extend(b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x05");
        let mut v3 = v1.clone();
        v3[1] = 3;
        v3.extend(b"\0\0\0\x07\0\x02r1");
        let mut v9 = v3.clone();
        v9[1] = 9;
        v9.push(0);
        let read = |bytes: &[u8]| decode_subscription(Bytes::copy_from_slice(bytes)).unwrap();
        assert_eq!(read(&v0).topics, ["t"]);
        assert_eq!(read(&v1).owned["t"], [5]);
        assert_eq!(read(&v3).generation, 7);
        assert_eq!(read(&v3).rack.as_deref(), Some("r1"));
        assert_eq!(read(&v9), read(&v3));
    }

    proptest! {
        #[test]
        fn assignments_come_back(share in prop::collection::btree_map("[a-c]{1,4}".prop_map(Str::from), prop::collection::vec(any::<i32>(), 0..9), 0..5)) {
            prop_assert_eq!(decode_assignment(encode_assignment(&share)).unwrap(), share);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let bytes = Bytes::from(bytes);
            let _ = decode_subscription(bytes.clone());
            let _ = decode_assignment(bytes);
        }
    }
}
