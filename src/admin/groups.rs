//! Which groups there are, and who is in them.

use std::collections::BTreeMap;

use super::AdminError;
use crate::{
    consumer,
    wire::{
        cluster::{Cluster, ClusterError, Lane},
        error::{CallError, ErrorCode},
        messages::{
            ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest,
            ListGroupsRequest, Request,
        },
    },
};

/// Which protocol a group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JoinGroup, SyncGroup, Heartbeat.
    Classic,
    /// KIP-848.
    Consumer,
}

impl Kind {
    /// As Kafka names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// A group, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its id.
    pub group: String,
    /// Which protocol it speaks; brokers before 3.7 do not say.
    pub kind: String,
    /// Its state; brokers before 2.6 do not say.
    pub state: String,
    /// What its members are: `consumer`, `connect`; empty for one that only has offsets.
    pub protocol: String,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its id.
    pub group: String,
    /// Which protocol it speaks.
    pub kind: Kind,
    /// What the coordinator calls its state: `Empty` when it has no member.
    pub state: String,
    /// How its partitions are shared out; empty while it has no member.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// Its members.
    pub members: Vec<Member>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its `group.instance.id`, if it is a static one.
    pub instance: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// Its partitions, topic by topic.
    pub partitions: BTreeMap<String, Vec<i32>>,
}

/// The groups of all brokers, by their ids.
///
/// # Errors
/// When a broker cannot be asked, or refuses.
pub async fn list(cluster: &Cluster) -> Result<Vec<Listed>, AdminError> {
    let mut groups = Vec::new();
    for node in cluster.refresh_brokers().await? {
        let request = ListGroupsRequest::default();
        let answer = cluster.request(node, Lane::Control, &request).await?;
        ErrorCode::check(answer.error_code).map_err(|code| AdminError::Refused {
            group: "(all)".to_owned(),
            api: ListGroupsRequest::NAME,
            code,
        })?;
        groups.extend(answer.groups.into_iter().map(|group| Listed {
            group: group.group_id.to_string(),
            kind: group.group_type.to_string(),
            state: group.group_state.to_string(),
            protocol: group.protocol_type.to_string(),
        }));
    }
    groups.sort();
    groups.dedup();
    Ok(groups)
}

/// A group and its members, in whichever protocol it is.
///
/// # Errors
/// [`AdminError::NoGroup`]; when the coordinator cannot be asked, or refuses.
pub async fn describe(cluster: &Cluster, group: &str) -> Result<Described, AdminError> {
    let coordinator = cluster.coordinator(group).await?;
    if let Some(described) = describe_modern(cluster, coordinator, group).await? {
        return Ok(described);
    }
    let request = DescribeGroupsRequest {
        groups: vec![group.into()],
        ..Default::default()
    };
    let answer = cluster
        .request(coordinator, Lane::Control, &request)
        .await?;
    let no_group = || AdminError::NoGroup {
        group: group.to_owned(),
    };
    let described = answer.groups.into_iter().next().ok_or_else(no_group)?;
    match ErrorCode::check(described.error_code) {
        Ok(()) if described.group_state == "Dead" => return Err(no_group()),
        Ok(()) => {}
        Err(ErrorCode::GROUP_ID_NOT_FOUND) => return Err(no_group()),
        Err(code) => return Err(refused(group, DescribeGroupsRequest::NAME, code)),
    }
    let members = described.members.into_iter().map(|member| Member {
        id: member.member_id.to_string(),
        instance: member
            .group_instance_id
            .map(|instance| instance.to_string()),
        client_id: member.client_id.to_string(),
        host: host(&member.client_host),
        // What is no consumer's assignment is none.
        partitions: consumer::read_assignment(member.member_assignment).unwrap_or_default(),
    });
    Ok(Described {
        group: group.to_owned(),
        kind: Kind::Classic,
        state: described.group_state.to_string(),
        assignor: described.protocol_data.to_string(),
        coordinator,
        members: members.collect(),
    })
}

/// `None` when the group is not one of KIP-848, or the broker knows none.
async fn describe_modern(
    cluster: &Cluster,
    coordinator: i32,
    group: &str,
) -> Result<Option<Described>, AdminError> {
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![group.into()],
        ..Default::default()
    };
    let answer = match cluster.request(coordinator, Lane::Control, &request).await {
        Ok(answer) => answer,
        Err(CallError::Unsupported { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(described) = answer.groups.into_iter().next() else {
        return Ok(None);
    };
    match ErrorCode::check(described.error_code) {
        Ok(()) => {}
        Err(ErrorCode::GROUP_ID_NOT_FOUND | ErrorCode::UNSUPPORTED_VERSION) => return Ok(None),
        Err(code) => return Err(refused(group, ConsumerGroupDescribeRequest::NAME, code)),
    }
    let members = described.members.into_iter().map(|member| {
        let mut partitions: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for of in member.assignment.topic_partitions {
            partitions
                .entry(of.topic_name.to_string())
                .or_default()
                .extend(of.partitions);
        }
        Member {
            id: member.member_id.to_string(),
            instance: member.instance_id.map(|instance| instance.to_string()),
            client_id: member.client_id.to_string(),
            host: host(&member.client_host),
            partitions,
        }
    });
    Ok(Some(Described {
        group: group.to_owned(),
        kind: Kind::Consumer,
        state: described.group_state.to_string(),
        assignor: described.assignor_name.to_string(),
        coordinator,
        members: members.collect(),
    }))
}

/// Deletes a group with its offsets.
///
/// # Errors
/// [`AdminError::NoGroup`], [`AdminError::Active`]; when the coordinator cannot be asked, or refuses.
pub async fn delete(cluster: &Cluster, group: &str) -> Result<(), AdminError> {
    let described = describe(cluster, group).await?;
    described.check_inactive()?;
    let request = DeleteGroupsRequest {
        groups_names: vec![group.into()],
    };
    let answer = cluster
        .request(described.coordinator, Lane::Control, &request)
        .await?;
    let result = answer
        .results
        .iter()
        .find(|result| result.group_id == group);
    match ErrorCode::check(result.map_or(0, |result| result.error_code)) {
        Ok(()) => Ok(()),
        Err(ErrorCode::GROUP_ID_NOT_FOUND) => Err(AdminError::NoGroup {
            group: group.to_owned(),
        }),
        Err(ErrorCode::NON_EMPTY_GROUP) => Err(AdminError::Active {
            group: group.to_owned(),
            state: described.state,
            members: described.members.len().max(1),
        }),
        Err(code) => Err(refused(group, DeleteGroupsRequest::NAME, code)),
    }
}

impl Described {
    /// Whether it has no member, so that its offsets may be moved.
    pub(super) fn check_inactive(&self) -> Result<(), AdminError> {
        if self.members.is_empty() && self.state == "Empty" {
            return Ok(());
        }
        Err(AdminError::Active {
            group: self.group.clone(),
            state: self.state.clone(),
            members: self.members.len(),
        })
    }
}

pub(super) fn refused(group: &str, api: &'static str, code: ErrorCode) -> AdminError {
    if code.remedy() == crate::wire::error::Remedy::None {
        AdminError::Refused {
            group: group.to_owned(),
            api,
            code,
        }
    } else {
        ClusterError::Group {
            group: group.to_owned(),
            code,
        }
        .into()
    }
}

/// Java writes a slash before an address that has no name.
fn host(host: &str) -> String {
    host.strip_prefix('/').unwrap_or(host).to_owned()
}
