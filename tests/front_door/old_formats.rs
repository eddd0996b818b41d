//! Message formats of before Kafka 0.11, which brokers up to 3.x hand out as they are: named, with the partition, and not
//! read as damage.

use crate::{flips::Flipper, raw::*, support::*};

#[test]
fn an_old_message_format_is_one_sentence_that_names_the_partition() {
    for cluster in &clusters() {
        for format in [0, 1] {
            let bench = Bench::new(cluster);
            block_on(async {
                make_topic(&cluster.address, &bench.topic, 1, &[]).await;
                let records = (0..3).map(|number| Raw::new(b"IBM", Some(event(number).as_bytes())));
                publish(&cluster.address, &bench.topic, None, records).await;
            });
            let through = Flipper::old_format(&cluster.address, format)
                .address
                .to_string();
            let version = format!("message format v{format}");
            for command in [
                &["consume", "--until-end"][..],
                &["tail", "--from", "earliest", "-n", "1"],
            ] {
                let output = bench.command_at(&through, command).finish();
                let said = stderr(&output);
                assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
                let told: Vec<&str> = said
                    .lines()
                    .filter(|line| line.contains(&version))
                    .collect();
                assert!(!told.is_empty() && !said.contains("panicked"), "{said}");
                for part in ["partition 0", &bench.topic, "copy the topic"] {
                    assert!(told[0].contains(part), "{part} is not in: {said}");
                }
                // It is not fetched again as damage is.
                assert!(!said.contains("bad data"), "{said}");
            }
            // What was not read is read where it comes as it is.
            let done = bench.json(&["consume", "--until-end"]);
            assert_eq!(done["rows_written"], 3, "{done}");
        }
    }
}
