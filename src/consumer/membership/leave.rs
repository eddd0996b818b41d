//! Leaving a group: our own membership at the end, or that of a process that died and cannot leave by itself.

use std::sync::Arc;

use super::classic::Event;
use super::kip848::machine;
use super::{Machine, Membership};
use crate::{
    consumer::{ConsumeError, coordinator::Coordinator, retry::Streak},
    wire::{
        cluster::{Cluster, ClusterError, Lane},
        error::{CallError, ErrorCode, Remedy},
        messages::{ConsumerGroupHeartbeatRequest, LeaveGroupRequest, MemberIdentity, Str},
    },
};

/// A membership of a process that is known to be dead.
#[derive(Clone, Copy, Debug)]
pub struct Former<'a> {
    /// The group's id.
    pub group: &'a str,
    /// Its stored member id.
    pub member_id: &'a str,
    /// Its `Kafka.GroupInstanceId`, if the process that follows has the same.
    pub instance: Option<&'a str>,
}

/// Ends the membership of a former incarnation, trying for ever.
///
/// Afterwards no commit of that process counts any more, not even one that is still in a socket, and the group does
/// not wait for its session to end. A member that is gone already is a success. Nobody keeps a note of which protocol
/// that process spoke, so it is ended in both.
///
/// With an instance id the partitions stay where they are: under KIP-848 the broker is told that the member will be
/// back; under the classic protocol it is the successor's JoinGroup that fences, so only what was committed *after* the
/// successor joined may be believed.
///
/// # Errors
/// When the broker refuses for good: an ACL, an illegal group id.
pub async fn fence(cluster: &Arc<Cluster>, former: Former<'_>) -> Result<(), ConsumeError> {
    let coordinator = Coordinator::new(Arc::clone(cluster), former.group.into());
    end(&coordinator, &former.member_id.into(), former.instance).await
}

async fn end(
    coordinator: &Coordinator,
    member_id: &Str,
    instance: Option<&str>,
) -> Result<(), ConsumeError> {
    let mut streak = Streak::new(format!(
        "end the former membership {member_id} in group {}",
        coordinator.group()
    ));
    loop {
        match send_both(coordinator, member_id, instance).await {
            Ok(Ok(())) => {
                streak.over();
                return Ok(());
            }
            Ok(Err((_, code))) if code.remedy() != Remedy::None => streak.failed(&code).await,
            Ok(Err((api, code))) => {
                return Err(ConsumeError::Group {
                    group: coordinator.group().to_string(),
                    api,
                    code,
                });
            }
            Err(error) if error.is_retriable() => streak.failed(&error).await,
            Err(error) => return Err(error.into()),
        }
    }
}

type Refusal = (&'static str, ErrorCode);

async fn send_both(
    coordinator: &Coordinator,
    member_id: &Str,
    instance: Option<&str>,
) -> Result<Result<(), Refusal>, ClusterError> {
    if instance.is_none() {
        let left = send_leave(coordinator, member_id.clone(), "the process was restarted").await?;
        if let Err(code) = left {
            return Ok(Err(("LeaveGroup", code)));
        }
    }
    let left = send_last_beat(coordinator, member_id, instance.map(Str::from)).await?;
    Ok(left.map_err(|code| ("ConsumerGroupHeartbeat", code)))
}

impl Membership {
    /// Ends the membership of a member id of ours, trying for ever: nothing of it counts any more.
    pub(super) async fn end_membership(&self, member_id: &Str) -> Result<(), ConsumeError> {
        end(&self.coordinator, member_id, None).await
    }

    /// Leaves the group, trying once: who does not get through is thrown out when the session ends. A static member
    /// stays, so that it finds its partitions again (KIP-345). The driver has to be over.
    pub(in crate::consumer) async fn leave(&self) -> Result<(), ConsumeError> {
        let instance = self.settings.group_instance_id.clone();
        let (member_id, modern) = match &mut *self.machine.lock() {
            Machine::Classic(machine) => {
                let member_id = machine.stored_member_id();
                machine.on(Event::Left, std::time::Instant::now());
                (member_id.filter(|_| instance.is_none()), false)
            }
            Machine::Kip848(machine) => {
                let member_id = machine.stored_member_id();
                machine.left();
                (member_id, true)
            }
        };
        let Some(member_id) = member_id else {
            return Ok(());
        };
        let (api, left) = if modern {
            let left = send_last_beat(&self.coordinator, &member_id, instance).await?;
            ("ConsumerGroupHeartbeat", left)
        } else {
            let left = send_leave(&self.coordinator, member_id, "the consumer was stopped").await?;
            ("LeaveGroup", left)
        };
        left.map_err(|code| self.refused(api, code))
    }
}

/// Sends LeaveGroup; a member or group that is not there counts as gone.
async fn send_leave(
    coordinator: &Coordinator,
    member_id: Str,
    reason: &str,
) -> Result<Result<(), ErrorCode>, ClusterError> {
    let request = LeaveGroupRequest {
        group_id: coordinator.group().clone(),
        member_id: member_id.clone(),
        members: vec![MemberIdentity {
            member_id,
            group_instance_id: None,
            reason: Some(reason.into()),
        }],
    };
    let answer = coordinator.call(Lane::Group, &request).await?;
    let codes = answer.members.iter().map(|member| member.error_code);
    Ok(std::iter::once(answer.error_code)
        .chain(codes)
        .try_for_each(|code| gone(coordinator, code)))
}

/// Sends the last heartbeat of a KIP-848 member, where the broker has that protocol; with an instance id it says that
/// the member will be back.
async fn send_last_beat(
    coordinator: &Coordinator,
    member_id: &Str,
    instance_id: Option<Str>,
) -> Result<Result<(), ErrorCode>, ClusterError> {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: coordinator.group().clone(),
        member_id: member_id.clone(),
        member_epoch: match instance_id {
            Some(_) => machine::LEAVE_FOR_A_WHILE,
            None => machine::LEAVE,
        },
        instance_id,
        ..Default::default()
    };
    match coordinator.call(Lane::Group, &request).await {
        Ok(answer) => Ok(gone(coordinator, answer.error_code)),
        Err(ClusterError::Call(CallError::Unsupported { .. })) => Ok(Ok(())),
        Err(error) => Err(error),
    }
}

/// Whether the answer means that there is no such member any more.
fn gone(coordinator: &Coordinator, code: i16) -> Result<(), ErrorCode> {
    match ErrorCode::check(code) {
        Ok(())
        | Err(
            ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::GROUP_ID_NOT_FOUND
            | ErrorCode::UNSUPPORTED_VERSION
            | ErrorCode::FENCED_INSTANCE_ID
            | ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ) => Ok(()),
        Err(code) => {
            coordinator.note(code);
            Err(code)
        }
    }
}
