//! What outsiders ask about groups: DescribeGroups, ListGroups.

use std::collections::BTreeSet;

use super::Context;
use crate::{
    broker::coordinator::GroupEntry,
    wire::messages::{
        DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
        ListGroupsRequest, ListGroupsResponse, ListedGroup, Str,
    },
};

/// The state of a group that there is not.
const DEAD: &str = "Dead";

/// The type of groups of the classic protocol (KIP-848).
const CLASSIC: &str = "classic";

/// Describes groups with their members.
pub(super) async fn describe_groups(
    context: &Context<'_>,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    // A group is described once, however often it is named.
    let ids: BTreeSet<_> = request.groups.into_iter().collect();
    let groups = ids.into_iter().map(|group_id| {
        let coordinator = &context.shared.coordinator;
        coordinator.look(&group_id, |entry| describe(&group_id, entry))
    });
    DescribeGroupsResponse {
        groups: groups.collect(),
        ..Default::default()
    }
}

fn describe(group_id: &Str, entry: Option<&GroupEntry>) -> DescribedGroup {
    let group_id = group_id.clone();
    let Some(GroupEntry { group, .. }) = entry else {
        return DescribedGroup {
            group_id,
            group_state: Str::from_static(DEAD),
            ..Default::default()
        };
    };
    let protocol = group.protocol();
    let members = group.members().map(|member| DescribedGroupMember {
        member_id: member.id.as_str().into(),
        group_instance_id: member.instance.as_deref().map(Str::from),
        client_id: member.client_id.as_str().into(),
        client_host: member.client_host.as_str().into(),
        // Until all have their parts, there are none to be shown.
        member_metadata: protocol
            .map(|name| member.metadata(name))
            .unwrap_or_default(),
        member_assignment: protocol
            .map(|_| member.assignment.clone())
            .unwrap_or_default(),
    });
    DescribedGroup {
        group_id,
        group_state: group.state().into(),
        protocol_type: group.protocol_type().into(),
        protocol_data: protocol.unwrap_or_default().into(),
        members: members.collect(),
        ..Default::default()
    }
}

/// Lists the groups of some states and types.
pub(super) async fn list_groups(
    context: &Context<'_>,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let passes = |filter: &[Str], value: &str| {
        filter.is_empty()
            || filter
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let groups = context.shared.coordinator.look_at_all(|id, entry| {
        let state = entry.group.state();
        let passes =
            passes(&request.states_filter, state) && passes(&request.types_filter, CLASSIC);
        passes.then(|| ListedGroup {
            group_id: id.into(),
            protocol_type: entry.group.protocol_type().into(),
            group_state: state.into(),
            group_type: Str::from_static(CLASSIC),
        })
    });
    ListGroupsResponse {
        groups,
        ..Default::default()
    }
}
