//! The group's rules one by one, and what has to hold whatever its members do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group, the time, and what was answered.
struct World {
    group: Group,
    now: Instant,
    tickets: u64,
    ids: u64,
    replies: BTreeMap<Ticket, Reply>,
}

impl World {
    fn new() -> Self {
        Self {
            group: Group::default(),
            now: Instant::now(),
            tickets: 0,
            ids: 0,
            replies: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: impl FnOnce(&mut Group, Instant, Ticket, &mut Replies)) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let mut replies = Replies::new();
        step(&mut self.group, self.now, ticket, &mut replies);
        for (ticket, reply) in replies {
            let before = self.replies.insert(ticket, reply);
            assert_eq!(before, None, "{ticket:?} was answered twice");
        }
        ticket
    }

    fn join(&mut self, member: &str, instance: Option<&str>, protocols: &[&str]) -> Ticket {
        self.join_telling(member, instance, protocols, b"metadata")
    }

    fn join_telling(
        &mut self,
        member: &str,
        instance: Option<&str>,
        protocols: &[&str],
        metadata: &'static [u8],
    ) -> Ticket {
        self.ids += 1;
        let join = Join {
            member_id: member.to_owned(),
            new_member_id: format!("m{}", self.ids),
            id_required: false,
            knows_skip_assignment: true,
            instance: instance.map(str::to_owned),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: "consumer".to_owned(),
            protocols: protocols
                .iter()
                .map(|name| Protocol {
                    name: (*name).to_owned(),
                    metadata: Bytes::from_static(metadata),
                })
                .collect(),
        };
        self.step(|group, now, ticket, replies| group.join(now, &join, ticket, replies))
    }

    fn sync(&mut self, member: &str, generation: i32, to: &[&str]) -> Ticket {
        let part = |to: &&str| ((*to).to_owned(), Bytes::from(generation.to_string()));
        let sync = Sync {
            member_id: member.to_owned(),
            generation,
            assignments: to.iter().map(part).collect(),
            ..Default::default()
        };
        self.step(|group, now, ticket, replies| group.sync(now, sync, ticket, replies))
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.step(|group, now, _, replies| group.tick(now, replies));
    }

    fn heartbeat(&mut self, member: &str, generation: i32) -> Result<(), ErrorCode> {
        self.group.heartbeat(self.now, member, None, generation)
    }

    fn joined(&self, ticket: Ticket) -> &Joined {
        match self.replies.get(&ticket) {
            Some(Reply::Join(Ok(joined))) => joined,
            other => panic!("{ticket:?}: {other:?}"),
        }
    }

    fn refused(&self, ticket: Ticket) -> ErrorCode {
        match self.replies.get(&ticket) {
            Some(Reply::Join(Err(refused))) => refused.code,
            Some(Reply::Sync(Err(code))) => *code,
            other => panic!("{ticket:?}: {other:?}"),
        }
    }

    fn assignment(&self, ticket: Ticket) -> &[u8] {
        match self.replies.get(&ticket) {
            Some(Reply::Sync(Ok(synced))) => &synced.assignment,
            other => panic!("{ticket:?}: {other:?}"),
        }
    }

    /// Two members, `m1` the leader and `m2`, stable in generation 2.
    fn of_two() -> Self {
        let mut world = Self::new();
        let first = world.join("", None, &["range"]);
        assert_eq!(world.joined(first).generation, 1);
        world.sync("m1", 1, &["m1"]);
        let second = world.join("", None, &["range"]);
        assert!(!world.replies.contains_key(&second));
        let again = world.join("m1", None, &["range"]);
        assert_eq!(world.joined(again).members.len(), 2);
        assert_eq!(world.joined(second).leader, "m1");
        assert!(world.joined(second).members.is_empty());
        let follower = world.sync("m2", 2, &[]);
        assert!(!world.replies.contains_key(&follower));
        let leader = world.sync("m1", 2, &["m1", "m2"]);
        assert_eq!(world.assignment(leader), b"2");
        assert_eq!(world.assignment(follower), b"2");
        assert_eq!(world.group.state(), "Stable");
        world
    }
}

#[test]
fn two_members_share() {
    let mut world = World::of_two();
    assert_eq!(world.heartbeat("m1", 2), Ok(()));
    let old = world.heartbeat("m1", 1);
    assert_eq!(old, Err(ErrorCode::ILLEGAL_GENERATION));
    let unknown = world.heartbeat("m9", 2);
    assert_eq!(unknown, Err(ErrorCode::UNKNOWN_MEMBER_ID));
    let third = world.join("", None, &["range"]);
    let told = world.heartbeat("m1", 2);
    assert_eq!(told, Err(ErrorCode::REBALANCE_IN_PROGRESS));
    let sync = world.sync("m2", 2, &[]);
    assert_eq!(world.refused(sync), ErrorCode::REBALANCE_IN_PROGRESS);
    assert!(!world.replies.contains_key(&third));
}

#[test]
fn who_does_not_come_back_is_left_out() {
    let mut world = World::of_two();
    let third = world.join("", None, &["range"]);
    let first = world.join("m1", None, &["range"]);
    for _ in 0..12 {
        world.advance(REBALANCE / 12);
        // It lives, but it does not join again.
        world.heartbeat("m2", 2).ok();
    }
    assert_eq!(world.joined(first).members.len(), 2);
    assert_eq!(world.joined(third).generation, 3);
    let late = world.join("m2", None, &["range"]);
    assert_eq!(world.refused(late), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn silence_and_a_missing_sync_end_a_membership() {
    let mut world = World::of_two();
    world.advance(SESSION / 2);
    assert_eq!(world.heartbeat("m1", 2), Ok(()));
    assert_eq!(world.group.next_tick(), Some(world.now + SESSION / 2));
    world.advance(SESSION / 2);
    let told = world.heartbeat("m1", 2);
    assert_eq!(told, Err(ErrorCode::REBALANCE_IN_PROGRESS));
    let alone = world.join("m1", None, &["range"]);
    assert_eq!(world.joined(alone).members.len(), 1);
    for _ in 0..12 {
        world.heartbeat("m1", 3).ok();
        world.advance(REBALANCE / 12);
    }
    assert!(world.group.is_deserted(), "it never asked for its part");
    assert_eq!(world.group.state(), "Empty");
    assert_eq!(world.group.next_tick(), None);
}

#[test]
fn a_member_gets_its_id_before_it_joins() {
    let mut world = World::new();
    let mut join = Join {
        member_id: String::new(),
        new_member_id: "given".to_owned(),
        id_required: true,
        knows_skip_assignment: false,
        instance: None,
        client_id: String::new(),
        client_host: String::new(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![Protocol {
            name: "range".to_owned(),
            metadata: Bytes::new(),
        }],
    };
    let first = world.step(|group, now, ticket, replies| group.join(now, &join, ticket, replies));
    assert_eq!(world.refused(first), ErrorCode::MEMBER_ID_REQUIRED);
    assert!(!world.group.is_deserted());
    join.member_id = "given".to_owned();
    let second = world.step(|group, now, ticket, replies| group.join(now, &join, ticket, replies));
    assert_eq!(world.joined(second).leader, "given");
    join.member_id = "invented".to_owned();
    let third = world.step(|group, now, ticket, replies| group.join(now, &join, ticket, replies));
    assert_eq!(world.refused(third), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut world = World::new();
    world.join("", Some("one"), &["range"]);
    world.sync("m1", 1, &["m1"]);
    let back = world.join("", Some("one"), &["range"]);
    let joined = world.joined(back).clone();
    assert_eq!((joined.generation, joined.skip_assignment), (1, true));
    assert_eq!(
        (&*joined.member_id, &*joined.leader, joined.members.len()),
        ("m2", "m2", 1)
    );
    let part = world.sync("m2", 1, &[]);
    assert_eq!(world.assignment(part), b"1");
    let now = world.now;
    let fenced = world.group.heartbeat(now, "m1", Some("one"), 1);
    assert_eq!(fenced, Err(ErrorCode::FENCED_INSTANCE_ID));
    // What it tells under a protocol is its own affair.
    let back = world.join_telling("", Some("one"), &["range"], b"nothing owned");
    assert_eq!(world.joined(back).generation, 1);
    world.sync("m3", 1, &[]);
    let changed = world.join("", Some("one"), &["roundrobin"]);
    assert_eq!(world.joined(changed).generation, 2);
    world.step(|group, now, _, replies| {
        assert_eq!(group.leave(now, "", Some("one"), replies), Ok(()));
    });
    assert!(world.group.is_deserted());
}

#[test]
fn the_protocol_is_one_that_all_have() {
    let mut world = World::new();
    let first = world.join("", None, &["sticky", "range"]);
    assert_eq!(world.joined(first).protocol, "sticky");
    let other = world.join("", None, &["roundrobin"]);
    assert_eq!(world.refused(other), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let second = world.join("", None, &["range"]);
    let again = world.join("m1", None, &["sticky", "range"]);
    assert_eq!(world.joined(again).protocol, "range");
    assert_eq!(world.joined(second).protocol, "range");
}

#[test]
fn commits_count_from_members_only_while_there_are_any() {
    let mut world = World::new();
    let now = world.now;
    assert_eq!(world.group.check_commit(now, "", None, -1), Ok(()));
    let member = world.group.check_commit(now, "m1", None, 1);
    assert_eq!(member, Err(ErrorCode::UNKNOWN_MEMBER_ID));
    let mut world = World::of_two();
    let outsider = world.group.check_commit(now, "", None, -1);
    assert_eq!(outsider, Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(world.group.check_commit(now, "m2", None, 2), Ok(()));
    world.join("", None, &["range"]);
    assert_eq!(
        world.group.check_commit(now, "m2", None, 2),
        Ok(()),
        "before it joins again, its parts are still its own"
    );
    world.join("m1", None, &["range"]);
    let joined = world.join("m2", None, &["range"]);
    assert_eq!(world.joined(joined).generation, 3);
    let early = world.group.check_commit(now, "m2", None, 3);
    assert_eq!(early, Err(ErrorCode::REBALANCE_IN_PROGRESS));
    let late = world.group.check_commit(now, "m2", None, 2);
    assert_eq!(late, Err(ErrorCode::ILLEGAL_GENERATION));
}

#[derive(Clone, Debug)]
enum Act {
    Join,
    Sync,
    Heartbeat,
    Leave,
    Forget,
    Wait(u64),
}

#[derive(Clone, Default)]
struct Client {
    instance: Option<String>,
    member_id: String,
    generation: i32,
    others: Vec<String>,
    join: Option<Ticket>,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Join),
        4 => Just(Act::Sync),
        2 => Just(Act::Heartbeat),
        1 => Just(Act::Leave),
        1 => Just(Act::Forget),
        2 => (0_u64..15).prop_map(Act::Wait),
    ]
}

proptest! {
    /// Four clients, two of them static, do anything at any time.
    #[test]
    fn whatever_members_do(acts in proptest::collection::vec((0_usize..4, act()), 1..80)) {
        let mut world = World::new();
        let mut clients = vec![Client::default(); 4];
        clients[2].instance = Some("two".to_owned());
        clients[3].instance = Some("three".to_owned());
        let mut asked = BTreeSet::new();
        let mut generation = 0;
        for (index, act) in acts {
            let client = &mut clients[index];
            match act {
                Act::Join => {
                    let ticket = world.join(&client.member_id, client.instance.as_deref(), &["range"]);
                    client.join = Some(ticket);
                    asked.insert(ticket);
                }
                Act::Sync => {
                    let others: Vec<_> = client.others.iter().map(String::as_str).collect();
                    let ticket = world.sync(&client.member_id, client.generation, &others);
                    asked.insert(ticket);
                    if let Some(Reply::Sync(Ok(synced))) = world.replies.get(&ticket) {
                        let own = world.group.generation.to_string();
                        prop_assert!(synced.assignment.is_empty() || synced.assignment == own);
                    }
                }
                Act::Heartbeat => {
                    let alive = world.group.heartbeat(
                        world.now, &client.member_id, client.instance.as_deref(), client.generation,
                    );
                    prop_assert!(alive.is_err() || client.generation == world.group.generation);
                }
                Act::Leave => {
                    let (id, instance) = (client.member_id.clone(), client.instance.clone());
                    world.step(|group, now, _, replies| {
                        group.leave(now, &id, instance.as_deref(), replies).ok();
                    });
                    client.member_id.clear();
                }
                Act::Forget => client.member_id.clear(),
                Act::Wait(seconds) => world.advance(Duration::from_secs(seconds)),
            }
            for client in &mut clients {
                let Some(ticket) = client.join.filter(|ticket| world.replies.contains_key(ticket)) else {
                    continue;
                };
                client.join = None;
                match &world.replies[&ticket] {
                    Reply::Join(Ok(joined)) => {
                        prop_assert_eq!(joined.generation, world.group.generation);
                        prop_assert_eq!(joined.members.is_empty(), joined.leader != joined.member_id);
                        client.member_id.clone_from(&joined.member_id);
                        client.generation = joined.generation;
                        client.others = joined.members.iter().map(|(id, ..)| id.clone()).collect();
                    }
                    _ => client.member_id.clear(),
                }
            }
            prop_assert!(world.group.generation >= generation);
            generation = world.group.generation;
            for (instance, id) in &world.group.instances {
                let holder = world.group.members.get(id).map(|member| member.instance.as_ref());
                prop_assert_eq!(holder, Some(Some(instance)));
            }
            if let State::CompletingRebalance { .. } | State::Stable { .. } = world.group.state {
                prop_assert!(world.group.members.contains_key(&world.group.leader));
                prop_assert!(world.group.members().all(|member| member.joining.is_none()));
            }
            if let State::Stable { .. } = world.group.state {
                prop_assert!(world.group.members().all(|member| member.syncing.is_none()));
            }
            prop_assert_eq!(
                matches!(world.group.state, State::Empty),
                world.group.members.is_empty()
            );
        }
        // In the end everybody is silent: all are answered, and nobody is left.
        for _ in 0..100 {
            world.advance(SESSION);
        }
        for ticket in asked {
            prop_assert!(world.replies.contains_key(&ticket), "{:?} was never answered", ticket);
        }
        prop_assert!(world.group.is_deserted());
        prop_assert_eq!(world.group.next_tick(), None);
    }
}
