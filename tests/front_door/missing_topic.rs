//! A topic that does not exist yet: whoever runs for long waits for it, whoever runs once says so and ends.

use std::time::Duration;

use crate::{raw::*, support::*};

#[test]
fn a_consumer_that_starts_before_its_topic_waits_for_it() {
    for cluster in &clusters() {
        let bench = Bench::new(cluster);
        let once = bench.command(&["consume", "--until-end"]).finish();
        assert_eq!(once.status.code(), Some(1), "{}", stderr(&once));
        assert!(stderr(&once).contains("does not exist"));

        let log = bench.directory.path().join("log");
        let consuming = Running::start(bench.command(&["consume"]), log);
        until("the wait is said", || {
            consuming.said().contains("waiting for it")
        });
        std::thread::sleep(Duration::from_secs(1));
        let said = consuming.said();
        assert_eq!(said.matches("waiting for it").count(), 1, "{said}");
        assert!(said.contains(&bench.topic) && said.contains("--create"));

        block_on(async {
            make_topic(&cluster.address, &bench.topic, 1, &[]).await;
            let events = (0..20).map(|number| Raw::new(b"IBM", Some(event(number).as_bytes())));
            publish(&cluster.address, &bench.topic, None, events).await;
        });
        until("the rows are there", || rows_so_far(&bench.out()) == 20);
        let (code, said) = consuming.stop();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("the topic exists now"), "{said}");
    }
}
