//! One function an API, and the way to it: header, body, function, response.
//!
//! What is not a request that [`supported`] lists closes the connection, as Kafka does; only ApiVersions is answered in any
//! version, because it is how a client finds out (KIP-511).

mod cluster;
mod context;
mod fetch;
mod groups;
mod members;
mod offsets;
mod produce;

pub(super) use context::Client;
use context::Context;

use bytes::Bytes;

use super::Shared;
use crate::wire::{
    error::ErrorCode,
    messages::{self, *},
};

/// Why a connection is closed instead of answering.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("not a request: {0}")]
    Header(DecodeError),
    #[error("the API {key} is not served")]
    UnknownApi { key: i16 },
    #[error("{api} is not served in version {version}, only in {min} to {max}")]
    UnknownVersion {
        api: &'static str,
        version: i16,
        min: i16,
        max: i16,
    },
    #[error("not a {api} request of version {version}: {source}")]
    Body {
        api: &'static str,
        version: i16,
        source: DecodeError,
    },
    /// With acks=0 there is no other way to tell.
    #[error("a Produce request without acknowledgement failed: {0}")]
    Unacknowledged(ErrorCode),
}

fn frame<R: Request>(correlation_id: i32, response: &R::Response, version: i16) -> Vec<u8> {
    let version = R::version(version);
    let mut out = vec![0; size_of::<i32>()];
    let flexible = version.flexible && R::KEY != ApiVersionsRequest::KEY;
    messages::encode_response_header(correlation_id, flexible, &mut out);
    messages::encode(response, version, &mut out);
    let length = i32::try_from(out.len() - size_of::<i32>()).unwrap_or(i32::MAX);
    if let Some(prefix) = out.first_chunk_mut() {
        *prefix = length.to_be_bytes();
    }
    out
}

fn body<R: Request>(header: &RequestHeader, mut reader: Reader) -> Result<R, Refused> {
    let (api, version) = (R::NAME, header.api_version);
    if !(R::MIN_VERSION..=R::MAX_VERSION).contains(&version) {
        return Err(Refused::UnknownVersion {
            api,
            version,
            min: R::MIN_VERSION,
            max: R::MAX_VERSION,
        });
    }
    if R::version(version).flexible {
        RequestHeader::skip_tagged(&mut reader).map_err(Refused::Header)?;
    }
    // Bytes behind the body are ignored, as Kafka does: librdkafka sends some in Metadata and ListGroups requests.
    R::decode(&mut reader, R::version(version)).map_err(|source| Refused::Body {
        api,
        version,
        source,
    })
}

macro_rules! apis {
    ($( $request:ident => $function:path, )*) => {
        /// What is served, for ApiVersions.
        fn supported() -> Vec<ApiVersion> {
            let produce = (ProduceRequest::KEY, ProduceRequest::MIN_VERSION, ProduceRequest::MAX_VERSION);
            let others = [$( ($request::KEY, $request::MIN_VERSION, $request::MAX_VERSION), )*];
            std::iter::once(produce)
                .chain(others)
                .map(|(api_key, min_version, max_version)| ApiVersion { api_key, min_version, max_version })
                .collect()
        }

        async fn dispatch(
            context: &Context<'_>,
            header: &RequestHeader,
            reader: Reader,
        ) -> Result<Option<Vec<u8>>, Refused> {
            let correlation_id = header.correlation_id;
            match header.api_key {
                ProduceRequest::KEY => {
                    let response = produce::produce(context, body(header, reader)?)?;
                    Ok(response.map(|response| {
                        frame::<ProduceRequest>(correlation_id, &response, header.api_version)
                    }))
                }
                $( $request::KEY => {
                    let response = $function(context, body::<$request>(header, reader)?).await;
                    Ok(Some(frame::<$request>(correlation_id, &response, header.api_version)))
                } )*
                key => Err(Refused::UnknownApi { key }),
            }
        }
    };
}

apis! {
    FetchRequest => fetch::fetch,
    ListOffsetsRequest => fetch::list_offsets,
    MetadataRequest => cluster::metadata,
    OffsetCommitRequest => offsets::offset_commit,
    OffsetFetchRequest => offsets::offset_fetch,
    FindCoordinatorRequest => cluster::find_coordinator,
    JoinGroupRequest => members::join_group,
    HeartbeatRequest => members::heartbeat,
    LeaveGroupRequest => members::leave_group,
    SyncGroupRequest => members::sync_group,
    DescribeGroupsRequest => groups::describe_groups,
    ListGroupsRequest => groups::list_groups,
    ApiVersionsRequest => api_versions,
    CreateTopicsRequest => cluster::create_topics,
    DeleteTopicsRequest => cluster::delete_topics,
    InitProducerIdRequest => produce::init_producer_id,
}

async fn api_versions(_context: &Context<'_>, _request: ApiVersionsRequest) -> ApiVersionsResponse {
    ApiVersionsResponse {
        api_keys: supported(),
        ..Default::default()
    }
}

/// Answers one request: the whole response frame, or nothing where the client wants none.
pub(super) async fn answer(
    shared: &Shared,
    client: &Client,
    frame_bytes: Bytes,
) -> Result<Option<Vec<u8>>, Refused> {
    let mut reader = Reader::new(frame_bytes);
    let header = RequestHeader::decode(&mut reader).map_err(Refused::Header)?;
    tracing::trace!(peer = %client.peer, api = header.api_key, version = header.api_version, "asked");
    let known = ApiVersionsRequest::MIN_VERSION..=ApiVersionsRequest::MAX_VERSION;
    if header.api_key == ApiVersionsRequest::KEY && !known.contains(&header.api_version) {
        let response = ApiVersionsResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION.0,
            api_keys: supported(),
            ..Default::default()
        };
        return Ok(Some(frame::<ApiVersionsRequest>(
            header.correlation_id,
            &response,
            0,
        )));
    }
    let context = Context {
        shared,
        client,
        client_id: header.client_id.as_deref().unwrap_or_default(),
        version: header.api_version,
    };
    dispatch(&context, &header, reader).await
}

/// The code as it stands in a response.
fn code_of<T>(outcome: &Result<T, ErrorCode>) -> i16 {
    match outcome {
        Ok(_) => 0,
        Err(code) => code.0,
    }
}
