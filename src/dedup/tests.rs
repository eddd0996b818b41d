//! What is known, on the embedded broker, whose logs lose their tails and their beginnings between one process and the next. It
//! has no leader epochs to ask for, so that the marks alone have to tell.

use std::{collections::BTreeMap, ops::Range, path::Path};

use chrono::Utc;
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    broker::{self, Broker, Logs},
    event::{Side, TradeEvent},
    producer::{OnTimeout, Producer, Record, Scheme, Settings},
    wire::{cluster, records::Codec},
};

const PARTITIONS: i32 = 2;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Orderly,
    /// With what is known saved, as it is every ten seconds, or not.
    Killed {
        saved: bool,
    },
}

struct Scene {
    cluster: Arc<Cluster>,
    logs: Logs,
    topic: Arc<str>,
}

impl Scene {
    async fn new() -> Self {
        let settings = broker::Settings {
            listen: "127.0.0.1:0".into(),
            partitions: PARTITIONS,
            ..broker::Settings::default()
        };
        let broker = Broker::bind(settings).await.unwrap();
        let logs = broker.logs();
        let cluster = Cluster::new(cluster::Settings {
            bootstrap: vec![broker.local_addr().to_string()],
            client_id: "test".into(),
            request_timeout: Duration::from_secs(60),
            reconnect_backoff: Duration::from_millis(10),
            reconnect_backoff_max: Duration::from_millis(200),
            metadata_max_age: Duration::from_secs(300),
            connections_max_idle: Duration::from_secs(540),
            max_fetch_response_bytes: 64 << 20,
        });
        tokio::spawn(broker.run(std::future::pending()));
        cluster.make_topic("trades").await.unwrap();
        Self {
            cluster,
            logs,
            topic: "trades".into(),
        }
    }

    async fn producer(&self) -> Producer {
        let settings = Settings {
            topic: Arc::clone(&self.topic),
            codec: Codec::Lz4,
            partitioner: Scheme::Murmur2,
            linger: Duration::from_millis(1),
            // A few events a batch.
            batch_size: 512,
            message_timeout: Duration::from_secs(600),
            on_timeout: OnTimeout::GiveUp,
            idempotent: true,
            transactional_id: None,
            max_in_flight: 5,
            buffer: 32 << 20,
            request_timeout: Duration::from_secs(60),
            seed: 1,
        };
        let producer = Producer::start(Arc::clone(&self.cluster), settings);
        producer.await.unwrap()
    }

    /// A process that publishes what is not on the topic yet; says how much that was.
    async fn run(&self, state: &Path, look_up: LookUp, ids: Range<u32>, end: End) -> usize {
        let events: Vec<TradeEvent> = ids.map(event).collect();
        let mut known = PublishedIds::new(&self.cluster, &self.topic, state.into(), look_up);
        known.learn(&events, Utc::now()).await.unwrap();
        let sent = self.offer(&mut known, &events).await;
        let deadline = Instant::now() + Duration::from_secs(60);
        match end {
            End::Orderly => known.close(true, deadline).await.unwrap(),
            End::Killed { saved: false } => {}
            End::Killed { saved: true } => known.store.as_mut().unwrap().save().unwrap(),
        }
        sent
    }

    /// Publishes what is not known; says how much that was.
    async fn offer(&self, known: &mut PublishedIds, events: &[TradeEvent]) -> usize {
        let producer = self.producer().await;
        let mut sent = vec![];
        let mut value = vec![];
        for event in events {
            if known.offer(&event.trade_id).unwrap() {
                value.clear();
                event.write_json(&mut value);
                let record = Record {
                    key: Some(event.symbol.as_bytes()),
                    value: Some(&value),
                    ..Record::default()
                };
                sent.push((&event.trade_id, producer.send(&record).await.unwrap()));
            }
        }
        producer.flush().await;
        for (id, delivery) in &sent {
            let place = delivery.wait().await.unwrap();
            known.acknowledged(id, &place).unwrap();
        }
        sent.len()
    }

    /// How often each id is on the topic.
    async fn read(&self) -> BTreeMap<u128, usize> {
        let bounds = topic_bounds::bounds(&self.cluster, &self.topic, None)
            .await
            .unwrap();
        let mut found = BTreeMap::new();
        topic_scan::scan(
            &self.cluster,
            &self.topic,
            bounds.starts,
            bounds.ends,
            |id, _| {
                *found.entry(id).or_default() += 1;
                Ok(())
            },
        )
        .await
        .unwrap();
        found
    }
}

fn event(number: u32) -> TradeEvent {
    TradeEvent {
        trade_id: TradeId::Text(format!("t-{number}").into()),
        symbol: format!("S{}", number % 7).into(),
        side: Side::Buy,
        quantity: 1,
        price: "2.5".into(),
        timestamp: Utc::now().into(),
    }
}

fn ids(range: Range<u32>) -> impl Iterator<Item = u128> {
    range.map(|id| number(&event(id).trade_id))
}

/// Whatever is lost is published when it is polled again, and nothing else: also where the log has grown beyond what was
/// known since, and whichever of two processes that share a directory comes next.
async fn what_is_lost_is_published_again(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let scene = Scene::new().await;
    let (state, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut foreigners = 1_000_000..1_000_000;
    let mut offered = 0;
    for round in 0..4 {
        offered += random.random_range(1..120);
        let ends = [
            End::Orderly,
            End::Killed { saved: true },
            End::Killed { saved: false },
        ];
        let end = ends[random.random_range(0..3)];
        let before = scene.read().await;
        let missing = ids(0..offered).filter(|id| !before.contains_key(id));
        let missing = missing.count();
        let first = random.random_bool(0.2);
        let look_up = if first { LookUp::Nothing } else { LookUp::All };
        if look_up == LookUp::All {
            let published = scene.run(state.path(), look_up, 0..offered, end).await;
            assert_eq!(published, missing, "seed {seed}, round {round}");
            let there = scene.read().await;
            for id in ids(0..offered) {
                assert_eq!(there.get(&id), Some(&1), "seed {seed}, round {round}");
            }
        } else if missing == 0 {
            // New ones, without looking.
            let new = offered..offered + 30;
            offered += 30;
            scene.run(state.path(), look_up, new, end).await;
        }
        for partition in 0..PARTITIONS {
            let lost = random.random_range(0..8);
            scene.logs.lose(&scene.topic, partition, lost);
        }
        let start = foreigners.end;
        foreigners = start..start + random.random_range(1..200);
        let other = (foreign.path(), LookUp::All, foreigners.clone());
        let published = scene.run(other.0, other.1, other.2, End::Orderly).await;
        assert_eq!(published, foreigners.len(), "seed {seed}, round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_log_lost_is_published_again_and_nothing_else() {
    join_all((0..10).map(what_is_lost_is_published_again)).await;
}

/// No epoch says so here: what was read back or acknowledged last is not there any more.
#[tokio::test]
async fn a_log_that_loses_its_tail_under_a_process_is_noticed_when_it_looks() {
    for (marked, publishes) in [(true, 0), (false, 100), (true, 100)] {
        let scene = Scene::new().await;
        let state = tempfile::tempdir().unwrap();
        let foreign = tempfile::tempdir().unwrap();
        scene
            .run(state.path(), LookUp::All, 0..200, End::Orderly)
            .await;
        let state = state.path().to_owned();
        let mut known = PublishedIds::new(&scene.cluster, &scene.topic, state, LookUp::All);
        let all: Vec<TradeEvent> = (0..200 + publishes).map(event).collect();
        known.learn(&all, Utc::now()).await.unwrap();
        scene.offer(&mut known, &all).await;
        let look = async |known: &mut PublishedIds| {
            (known.looked, known.marked) = (long_ago(), long_ago());
            known.is_outdated().await
        };
        if marked {
            assert!(!look(&mut known).await);
        }
        let before = scene.read().await.len();
        for partition in 0..PARTITIONS {
            scene.logs.lose(&scene.topic, partition, 2);
        }
        let lost = before - scene.read().await.len();
        scene
            .run(foreign.path(), LookUp::All, 1_000..1_500, End::Orderly)
            .await;
        assert!(look(&mut known).await, "{marked} {publishes}");
        known.begin_anew().unwrap();
        known.learn(&all, Utc::now()).await.unwrap();
        assert_eq!(
            scene.offer(&mut known, &all).await,
            lost,
            "{marked} {publishes}"
        );
        assert!(!look(&mut known).await, "{marked} {publishes}");
    }
}

/// What is known of the others stays known, also where it cannot be asked for.
#[tokio::test]
async fn only_the_partitions_that_are_doubted_are_looked_at() {
    let scene = Scene::new().await;
    let state = tempfile::tempdir().unwrap();
    let path = state.path().to_owned();
    let mut known = PublishedIds::new(&scene.cluster, &scene.topic, path, LookUp::All);
    let all: Vec<TradeEvent> = (0..200).map(event).collect();
    known.learn(&all, Utc::now()).await.unwrap();
    scene.offer(&mut known, &all).await;
    let mut there = scene.read().await.len();
    let mut lost = vec![];
    for partition in 0..PARTITIONS {
        scene.logs.lose(&scene.topic, partition, 2);
        let left = scene.read().await.len();
        lost.push(there - left);
        there = left;
    }
    assert!(lost.iter().all(|lost| *lost > 0), "{lost:?}");
    for (partition, lost) in (0..PARTITIONS).zip(lost) {
        known.doubt([partition].into());
        known.learn(&all, Utc::now()).await.unwrap();
        assert_eq!(scene.offer(&mut known, &all).await, lost, "{partition}");
    }
    let there = scene.read().await;
    assert!(ids(0..200).all(|id| there.get(&id) == Some(&1)));
}

/// Longer than between two looks.
fn long_ago() -> Instant {
    Instant::now() - SAVE_EVERY * 2
}

#[tokio::test]
async fn what_retention_deleted_stays_known_when_the_tail_is_lost() {
    let scene = Scene::new().await;
    let state = tempfile::tempdir().unwrap();
    let foreign = tempfile::tempdir().unwrap();
    let run = |state, ids| scene.run(state, LookUp::All, ids, End::Orderly);
    assert_eq!(run(state.path(), 0..400).await, 400);
    for partition in 0..PARTITIONS {
        scene.logs.delete(&scene.topic, partition, 4);
    }
    let left = scene.read().await.len();
    for partition in 0..PARTITIONS {
        scene.logs.lose(&scene.topic, partition, 3);
    }
    let lost = left - scene.read().await.len();
    assert!(left < 400 && lost > 0 && lost < left);
    assert_eq!(run(foreign.path(), 1_000..2_000).await, 1_000);
    assert_eq!(run(state.path(), 0..400).await, lost);
    assert_eq!(run(state.path(), 0..400).await, 0);
}

/// Also where it deletes all that is known of a partition while nothing comes.
#[tokio::test]
async fn what_retention_deletes_under_a_process_changes_nothing() {
    for delete_all in [true, false] {
        for is_marked in [true, false] {
            let scene = Scene::new().await;
            let state = tempfile::tempdir().unwrap();
            let all: Vec<TradeEvent> = (0..200).map(event).collect();
            let state = state.path().to_owned();
            let mut known = PublishedIds::new(&scene.cluster, &scene.topic, state, LookUp::All);
            known.learn(&all, Utc::now()).await.unwrap();
            scene.offer(&mut known, &all).await;
            let look = async |known: &mut PublishedIds| {
                (known.looked, known.marked) = (long_ago(), long_ago());
                known.is_outdated().await
            };
            if is_marked {
                assert!(!look(&mut known).await);
            }
            for partition in 0..1 + i32::from(delete_all) {
                scene.logs.delete(&scene.topic, partition, 1_000);
            }
            for _ in 0..2 {
                assert!(!look(&mut known).await, "{delete_all} {is_marked}");
            }
            assert_eq!(scene.offer(&mut known, &all).await, 0);
        }
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    let scene = Scene::new().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let mut settings = scene.cluster.settings().clone();
    let broker = std::mem::replace(&mut settings.bootstrap, vec![address.to_string()]);
    settings.request_timeout = Duration::from_millis(500);
    let cluster = Cluster::new(settings);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        while let Ok((mut client, _)) = listener.accept().await {
            let mut broker = tokio::net::TcpStream::connect(&*broker[0]).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
            });
        }
    });
    let bounds = topic_bounds::bounds(&cluster, &scene.topic, None)
        .await
        .unwrap();
    assert_eq!(bounds.ends, [(0, 0), (1, 0)].into());
}
