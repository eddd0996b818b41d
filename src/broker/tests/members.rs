//! A group's members through the socket.

use super::*;

fn join(member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "readers".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"topics"),
        }],
        ..Default::default()
    }
}

async fn member_of_group(cluster: &Cluster) -> JoinGroupResponse {
    let ask = |id| async move {
        cluster
            .request(NODE_ID, Lane::Membership, &join(id))
            .await
            .unwrap()
    };
    let first = ask("").await;
    assert_eq!(first.error_code, ErrorCode::MEMBER_ID_REQUIRED.0);
    ask(&first.member_id).await
}

#[tokio::test]
async fn two_members_come_together_and_part() {
    let broker = start(1 << 20).await;
    let (one, two) = (client(&broker), client(&broker));
    for cluster in [&one, &two] {
        cluster.make_topic("trades").await.unwrap();
    }
    let first = member_of_group(&one).await;
    assert_eq!((first.error_code, first.generation_id), (0, 1));
    assert_eq!(first.leader, first.member_id);

    let other = Arc::clone(&two);
    let second = tokio::spawn(async move { member_of_group(&other).await });
    let heartbeat = HeartbeatRequest {
        group_id: "readers".into(),
        generation_id: 1,
        member_id: first.member_id.clone(),
        ..Default::default()
    };
    timeout(Duration::from_secs(20), async {
        loop {
            let answer = one.request(NODE_ID, Lane::Group, &heartbeat).await.unwrap();
            if answer.error_code == ErrorCode::REBALANCE_IN_PROGRESS.0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let again = join(&first.member_id);
    let first = one
        .request(NODE_ID, Lane::Membership, &again)
        .await
        .unwrap();
    let second = second.await.unwrap();
    assert_eq!((first.generation_id, second.generation_id), (2, 2));
    assert_eq!(first.members.len() + second.members.len(), 2);

    let sync = |joined: &JoinGroupResponse, leads: bool| {
        let ids = [&first.member_id, &second.member_id];
        let part = |id: &&Str| SyncGroupRequestAssignment {
            member_id: (*id).clone(),
            assignment: Bytes::copy_from_slice(id.as_bytes()),
        };
        SyncGroupRequest {
            group_id: "readers".into(),
            generation_id: 2,
            member_id: joined.member_id.clone(),
            assignments: if leads {
                ids.iter().map(part).collect()
            } else {
                Vec::new()
            },
            ..Default::default()
        }
    };
    let leads = |joined: &JoinGroupResponse| joined.leader == joined.member_id;
    let (first_sync, second_sync) = (sync(&first, leads(&first)), sync(&second, leads(&second)));
    let (first_part, second_part) = tokio::join!(
        one.request(NODE_ID, Lane::Membership, &first_sync),
        two.request(NODE_ID, Lane::Membership, &second_sync),
    );
    assert_eq!(first_part.unwrap().assignment, first.member_id.as_bytes());
    assert_eq!(second_part.unwrap().assignment, second.member_id.as_bytes());

    let describe = DescribeGroupsRequest {
        groups: vec!["readers".into(), "nobody".into()],
        ..Default::default()
    };
    let described = one.request_any(&describe).await.unwrap();
    let states: Vec<_> = described
        .groups
        .iter()
        .map(|group| (&*group.group_state, group.members.len()))
        .collect();
    assert_eq!(states, [("Dead", 0), ("Stable", 2)]);
    let listed = one
        .request_any(&ListGroupsRequest::default())
        .await
        .unwrap();
    assert_eq!(&*listed.groups[0].group_id, "readers");

    let leave = LeaveGroupRequest {
        group_id: "readers".into(),
        members: [&first.member_id, &second.member_id]
            .map(|id| MemberIdentity {
                member_id: id.clone(),
                ..Default::default()
            })
            .into(),
        ..Default::default()
    };
    let left = one.request(NODE_ID, Lane::Group, &leave).await.unwrap();
    assert!(left.members.iter().all(|member| member.error_code == 0));
    let listed = one
        .request_any(&ListGroupsRequest::default())
        .await
        .unwrap();
    assert!(listed.groups.is_empty(), "nothing is left to be kept");
}
