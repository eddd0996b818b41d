//! Leaving a group: our own membership at the end, or that of a process that died and cannot leave by itself.

use std::sync::Arc;

use super::{Event, Membership};
use crate::{
    consumer::{ConsumeError, coordinator::Coordinator, retry::Streak},
    wire::{
        cluster::{Cluster, ClusterError, Lane},
        error::{ErrorCode, Remedy},
        messages::{LeaveGroupRequest, MemberIdentity, Str},
    },
};

/// Ends the membership of a former incarnation, known by its stored member id, trying for ever.
///
/// Afterwards no commit of that process counts any more, not even one that is still in a socket, and the group does
/// not wait for its session to end. A member that is gone already is a success. Only for ids of processes that are
/// known to be dead.
///
/// # Errors
/// When the broker refuses for good: an ACL, an illegal group id.
pub async fn fence(
    cluster: &Arc<Cluster>,
    group: &str,
    former_member_id: &str,
) -> Result<(), ConsumeError> {
    let coordinator = Coordinator::new(Arc::clone(cluster), group.into());
    let mut streak = Streak::new(format!(
        "end the former membership {former_member_id} in group {group}"
    ));
    loop {
        match send_leave(
            &coordinator,
            former_member_id.into(),
            "the process was restarted",
        )
        .await
        {
            Ok(Ok(())) => {
                streak.over();
                return Ok(());
            }
            Ok(Err(code)) if code.remedy() != Remedy::None => streak.failed(&code).await,
            Ok(Err(code)) => {
                return Err(ConsumeError::Group {
                    group: group.to_owned(),
                    api: "LeaveGroup",
                    code,
                });
            }
            Err(error) if error.is_retriable() => streak.failed(&error).await,
            Err(error) => return Err(error.into()),
        }
    }
}

impl Membership {
    /// Leaves the group, trying once: who does not get through is thrown out when the session ends. A static member
    /// stays, so that it finds its partitions again (KIP-345).
    pub(in crate::consumer) async fn leave(&self) -> Result<(), ConsumeError> {
        let member_id = self.machine.lock().stored_member_id();
        self.on(Event::Left);
        let Some(member_id) = member_id.filter(|_| self.settings.group_instance_id.is_none())
        else {
            return Ok(());
        };
        send_leave(&self.coordinator, member_id, "the consumer was stopped")
            .await?
            .map_err(|code| self.refused("LeaveGroup", code))
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
    for code in std::iter::once(answer.error_code).chain(codes) {
        match ErrorCode::check(code) {
            Ok(()) | Err(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND) => {}
            Err(code) => {
                coordinator.note(code);
                return Ok(Err(code));
            }
        }
    }
    Ok(Ok(()))
}
