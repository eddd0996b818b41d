//! What a group's members say: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! What a group keeps is copied out of the request, because a view of it would hold the whole request.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use uuid::Uuid;

use super::{Context, code_of};
use crate::{
    broker::group::{Group, Join, NotJoined, Protocol, Replies, Reply, Sync},
    wire::{
        error::ErrorCode,
        messages::{
            HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
            JoinGroupResponseMember, LeaveGroupRequest, LeaveGroupResponse, MemberIdentity,
            MemberResponse, Str, SyncGroupRequest, SyncGroupResponse,
        },
    },
};

/// The longest session timeout (`group.max.session.timeout.ms`).
const MAX_SESSION_TIMEOUT: Duration = Duration::from_secs(1_800);

/// The most bytes that a member may tell the leader, or the leader a member: the names of 20,000 partitions' topics.
const MAX_MEMBER_BYTES: usize = 1 << 20;

/// The first version in which a member without id has to come back with one (KIP-394).
const ID_REQUIRED_FROM: i16 = 4;
/// The first version with `skip_assignment` (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;
/// The first version in which many members leave at once (KIP-345).
const LEAVE_MANY_FROM: i16 = 3;

fn owned(text: Option<Str>) -> Option<String> {
    text.map(|text| text.to_string())
}

fn milliseconds(milliseconds: i32) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

/// Joins a group; waits until all of its members have.
pub(super) async fn join_group(
    context: &Context<'_>,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let member_id = request.member_id.to_string();
    let reply = match join_of(context, &request) {
        Ok(join) => {
            context
                .shared
                .coordinator
                .join(&request.group_id, join)
                .await
        }
        Err(code) => Reply::Join(Err(NotJoined { code, member_id })),
    };
    match reply {
        Reply::Join(Ok(joined)) => JoinGroupResponse {
            generation_id: joined.generation,
            protocol_type: Some(joined.protocol_type.into()),
            protocol_name: Some(joined.protocol.into()),
            leader: joined.leader.into(),
            skip_assignment: joined.skip_assignment,
            member_id: joined.member_id.into(),
            members: joined
                .members
                .into_iter()
                .map(|(member_id, instance, metadata)| JoinGroupResponseMember {
                    member_id: member_id.into(),
                    group_instance_id: instance.map(Str::from),
                    metadata,
                })
                .collect(),
            ..Default::default()
        },
        Reply::Join(Err(NotJoined { code, member_id })) => JoinGroupResponse {
            error_code: code.0,
            member_id: member_id.into(),
            ..Default::default()
        },
        Reply::Sync(_) => JoinGroupResponse {
            error_code: ErrorCode::UNKNOWN_SERVER_ERROR.0,
            ..Default::default()
        },
    }
}

fn join_of(context: &Context<'_>, request: &JoinGroupRequest) -> Result<Join, ErrorCode> {
    let session_timeout = milliseconds(request.session_timeout_ms);
    let allowed = context.shared.min_session_timeout..=MAX_SESSION_TIMEOUT;
    if !allowed.contains(&session_timeout) {
        return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
    }
    let protocols = request.protocols.iter();
    let sizes = protocols
        .clone()
        .map(|protocol| protocol.name.len().saturating_add(protocol.metadata.len()));
    let total: usize = sizes.sum();
    if total > MAX_MEMBER_BYTES {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let instance = request.group_instance_id.as_deref().map(str::to_owned);
    let prefix = instance.as_deref().unwrap_or(context.client_id);
    Ok(Join {
        member_id: request.member_id.to_string(),
        new_member_id: format!("{prefix}-{}", Uuid::new_v4()),
        id_required: context.version >= ID_REQUIRED_FROM,
        knows_skip_assignment: context.version >= SKIP_ASSIGNMENT_FROM,
        instance,
        client_id: context.client_id.to_owned(),
        client_host: format!("/{}", context.client.peer.ip()),
        session_timeout,
        // Version 0 has only the session timeout.
        rebalance_timeout: match request.rebalance_timeout_ms {
            ..0 => session_timeout,
            timeout => milliseconds(timeout),
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols
            .map(|protocol| Protocol {
                name: protocol.name.to_string(),
                metadata: Bytes::copy_from_slice(&protocol.metadata),
            })
            .collect(),
    })
}

/// Asks for the member's part; waits until the leader has shared out.
pub(super) async fn sync_group(
    context: &Context<'_>,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let mut assignments = BTreeMap::new();
    let mut too_large = false;
    for given in &request.assignments {
        too_large |= given.assignment.len() > MAX_MEMBER_BYTES;
        let assignment = Bytes::copy_from_slice(&given.assignment);
        assignments.insert(given.member_id.to_string(), assignment);
    }
    let sync = Sync {
        member_id: request.member_id.to_string(),
        instance: owned(request.group_instance_id),
        generation: request.generation_id,
        protocol_type: owned(request.protocol_type),
        protocol: owned(request.protocol_name),
        assignments,
    };
    let reply = match too_large {
        true => Reply::Sync(Err(ErrorCode::POLICY_VIOLATION)),
        false => {
            context
                .shared
                .coordinator
                .sync(&request.group_id, sync)
                .await
        }
    };
    match reply {
        Reply::Sync(Ok(synced)) => SyncGroupResponse {
            protocol_type: Some(synced.protocol_type.into()),
            protocol_name: Some(synced.protocol.into()),
            assignment: synced.assignment,
            ..Default::default()
        },
        Reply::Sync(Err(code)) => SyncGroupResponse {
            error_code: code.0,
            ..Default::default()
        },
        Reply::Join(_) => SyncGroupResponse {
            error_code: ErrorCode::UNKNOWN_SERVER_ERROR.0,
            ..Default::default()
        },
    }
}

/// Counts a member's sign of life, and tells it when it has to join again.
pub(super) async fn heartbeat(
    context: &Context<'_>,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let outcome = context
        .shared
        .coordinator
        .with(&request.group_id, |group, _| {
            group.heartbeat(
                Instant::now(),
                &request.member_id,
                request.group_instance_id.as_deref(),
                request.generation_id,
            )
        });
    HeartbeatResponse {
        error_code: code_of(&outcome),
        ..Default::default()
    }
}

/// Lets members go.
pub(super) async fn leave_group(
    context: &Context<'_>,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let leave = |member: &MemberIdentity| {
        let step = |group: &mut Group, replies: &mut Replies| {
            let instance = member.group_instance_id.as_deref();
            group.leave(Instant::now(), &member.member_id, instance, replies)
        };
        code_of(&context.shared.coordinator.with(&request.group_id, step))
    };
    if context.version < LEAVE_MANY_FROM {
        let error_code = leave(&MemberIdentity {
            member_id: request.member_id.clone(),
            ..Default::default()
        });
        return LeaveGroupResponse {
            error_code,
            ..Default::default()
        };
    }
    let left = request.members.iter().map(|member| MemberResponse {
        error_code: leave(member),
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
    });
    LeaveGroupResponse {
        members: left.collect(),
        ..Default::default()
    }
}
