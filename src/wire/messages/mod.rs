//! The table of Kafka's messages: one API a file, a line a field (name, type, versions, tag, nullability, default).
//!
//! Kafka describes its messages in a schema of its own; the table is that schema for the APIs that we use, and the
//! macro `message!` turns it into structs with an encoder and a decoder for both sides, so that the embedded broker reads
//! what the client writes.
//!
//! * A field outside its versions is not written, and reads as its default.
//! * `[5..; tag 0]` is a tagged field (KIP-482): written only where it differs from its default; unknown tags are
//!   passed over.
//! * `[0..; null 7..]` may be null only from version 7 on; before that, a missing value is written as the empty one.
//! * Every length is checked against the bytes that remain before anything is allocated, and trailing bytes are
//!   refused; strings and byte fields are views of the receive buffer.
//!
//! `oracle.rs` compares every message and version with the crate `kafka-protocol`, both ways.
#![allow(
    missing_docs,
    reason = "the fields are the protocol's own; Kafka's protocol guide documents them"
)]

#[cfg(test)]
mod oracle;
mod primitives;

mod add_partitions_to_txn;
mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_topics;
mod delete_groups;
mod delete_topics;
mod describe_configs;
mod describe_groups;
mod end_txn;
mod fetch;
mod find_coordinator;
mod header;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
mod within;

pub use add_partitions_to_txn::*;
pub use api_versions::*;
pub use consumer_group_describe::*;
pub use consumer_group_heartbeat::*;
pub use create_topics::*;
pub use delete_groups::*;
pub use delete_topics::*;
pub use describe_configs::*;
pub use describe_groups::*;
pub use end_txn::*;
pub use fetch::*;
pub use find_coordinator::*;
pub use header::{RequestHeader, encode_response_header};
pub use heartbeat::*;
pub use init_producer_id::*;
pub use join_group::*;
pub use leave_group::*;
pub use list_groups::*;
pub use list_offsets::*;
pub use metadata::*;
pub use offset_commit::*;
pub use offset_fetch::*;
pub use offset_for_leader_epoch::*;
pub use primitives::{DecodeError, Field, Nullable, Reader, Str, Version};
pub use produce::*;
pub use sync_group::*;
pub use within::Within;

use bytes::Bytes;

/// An API of Kafka: what a request of this type is called on the wire, and what answers it.
pub trait Request: Field {
    /// What the broker answers.
    type Response: Field;
    /// The API key, as the protocol guide numbers it.
    const KEY: i16;
    /// The API's name in errors and logs.
    const NAME: &'static str;
    /// The lowest version in the table.
    const MIN_VERSION: i16;
    /// The highest version in the table.
    const MAX_VERSION: i16;
    /// The first version with compact lengths and tagged fields (KIP-482), in bodies and headers.
    const FLEXIBLE_FROM: i16;

    /// How this API's bodies are written in version `number`.
    fn version(number: i16) -> Version {
        Version {
            number,
            flexible: number >= Self::FLEXIBLE_FROM,
        }
    }
}

/// Encodes a body in a version of its API.
pub fn encode<T: Field>(body: &T, version: Version, out: &mut Vec<u8>) {
    body.encode(out, version);
}

/// Decodes a body in a version of its API, and refuses bytes that are left over.
pub fn decode<T: Field>(bytes: Bytes, version: Version) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let body = T::decode(&mut reader, version)?;
    match reader.remaining() {
        0 => Ok(body),
        left => Err(DecodeError::TrailingBytes { left }),
    }
}

/// The table's macro: structs, their encoder and decoder, and the API they belong to.
macro_rules! message {
    (
        api $request:ident => $response:ident, key $key:literal, versions $min:literal ..= $max:literal, flexible $flexible:literal;
        $(
            pub struct $name:ident {
                $( $field:ident : $type:ty [ $($spec:tt)* ] $( = $default:expr )? , )*
            }
        )*
    ) => {
        impl super::Request for $request {
            type Response = $response;
            const KEY: i16 = $key;
            const NAME: &'static str = super::api_name(stringify!($request));
            const MIN_VERSION: i16 = $min;
            const MAX_VERSION: i16 = $max;
            const FLEXIBLE_FROM: i16 = $flexible;
        }
        $(
            #[derive(Clone, Debug, PartialEq)]
            pub struct $name {
                $( pub $field: $type, )*
            }

            impl Default for $name {
                fn default() -> Self {
                    Self { $( $field: super::message!(@default $( $default )?), )* }
                }
            }

            impl super::Field for $name {
                fn encode(&self, out: &mut Vec<u8>, version: super::Version) {
                    $( super::message!(@encode self, $field, out, version, $($spec)*); )*
                    if version.flexible {
                        #[allow(unused_mut, reason = "most structs have no tagged field")]
                        let mut tagged: Vec<(u32, Vec<u8>)> = Vec::new();
                        $( super::message!(@encode_tagged self, $field, tagged, version, [$($spec)*] $( $default )?); )*
                        super::primitives::write_tagged(&tagged, out);
                    }
                }

                fn decode(reader: &mut super::Reader, version: super::Version) -> Result<Self, super::DecodeError> {
                    #[allow(unused_mut, reason = "some bodies have no field")]
                    let mut read = Self::default();
                    $( super::message!(@decode read, $field, reader, version, $name, $($spec)*); )*
                    if version.flexible {
                        super::primitives::read_tagged(reader, |_tag, _reader| {
                            $( super::message!(@decode_tagged read, $field, _tag, _reader, version, $($spec)*); )*
                            Ok(())
                        })?;
                    }
                    Ok(read)
                }
            }

            #[cfg(test)]
            impl super::oracle::Sample for $name {
                fn sample(random: &mut rand_pcg::Pcg64Mcg, version: super::Version) -> Self {
                    #[allow(unused_mut, reason = "some bodies have no field")]
                    let mut sample = Self::default();
                    $( super::message!(@sample sample, $field, random, version, $($spec)*); )*
                    sample
                }
            }
        )*
    };

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    (@encode $self:ident, $field:ident, $out:ident, $version:ident, $range:expr) => {
        if ($range).contains(&$version.number) {
            super::Field::encode(&$self.$field, $out, $version);
        }
    };
    (@encode $self:ident, $field:ident, $out:ident, $version:ident, $range:expr; null $null:expr) => {
        if ($range).contains(&$version.number) {
            match &$self.$field {
                None if !($null).contains(&$version.number) => {
                    super::Field::encode(&Some(super::primitives::empty_of(&$self.$field)), $out, $version);
                }
                field => super::Field::encode(field, $out, $version),
            }
        }
    };
    (@encode $self:ident, $field:ident, $out:ident, $version:ident, $range:expr; tag $tag:literal) => {};

    (@encode_tagged $self:ident, $field:ident, $tagged:ident, $version:ident, [$range:expr; tag $tag:literal] $($default:expr)?) => {
        if ($range).contains(&$version.number)
            && super::primitives::differs(&$self.$field, super::message!(@default $($default)?))
        {
            let mut bytes = Vec::new();
            super::Field::encode(&$self.$field, &mut bytes, $version);
            $tagged.push(($tag, bytes));
        }
    };
    (@encode_tagged $self:ident, $field:ident, $tagged:ident, $version:ident, [$($other:tt)*] $($default:expr)?) => {};

    (@decode $read:ident, $field:ident, $reader:ident, $version:ident, $name:ident, $range:expr $(; null $null:expr)?) => {
        if ($range).contains(&$version.number) {
            $read.$field = super::Field::decode($reader, $version)
                .map_err(|error| error.within(concat!(stringify!($name), ".", stringify!($field))))?;
        }
    };
    (@decode $read:ident, $field:ident, $reader:ident, $version:ident, $name:ident, $range:expr; tag $tag:literal) => {};

    (@decode_tagged $read:ident, $field:ident, $tag_read:ident, $reader:ident, $version:ident, $range:expr; tag $tag:literal) => {
        if $tag_read == $tag && ($range).contains(&$version.number) {
            $read.$field = super::Field::decode($reader, $version)?;
        }
    };
    (@decode_tagged $read:ident, $field:ident, $tag_read:ident, $reader:ident, $version:ident, $($other:tt)*) => {};

    (@sample $sample:ident, $field:ident, $random:ident, $version:ident, $range:expr; null $null:expr) => {
        if ($range).contains(&$version.number) {
            $sample.$field = super::oracle::Sample::sample($random, $version);
            if !($null).contains(&$version.number) && $sample.$field.is_none() {
                $sample.$field = Some(super::primitives::empty_of(&$sample.$field));
            }
        }
    };
    (@sample $sample:ident, $field:ident, $random:ident, $version:ident, $range:expr; tag $tag:literal) => {
        if $version.flexible {
            super::message!(@sample $sample, $field, $random, $version, $range);
        }
    };
    (@sample $sample:ident, $field:ident, $random:ident, $version:ident, $range:expr) => {
        if ($range).contains(&$version.number) {
            $sample.$field = super::oracle::Sample::sample($random, $version);
        }
    };
}
use message;

/// `MetadataRequest` → `Metadata`.
const fn api_name(request: &'static str) -> &'static str {
    request.split_at(request.len() - "Request".len()).0
}
