//! A network that goes dark for longer than `Kafka.MessageTimeoutMs`: the program goes on, and every event is on the topic
//! once.

use std::{
    collections::BTreeSet,
    process::Stdio,
    sync::{Arc, Mutex},
    thread::sleep,
    time::Duration,
};

use crate::{proxy::Proxy, support::*};

#[test]
fn what_times_out_in_the_dark_is_offered_again_and_published_once() {
    let broker = Arc::new(Mutex::new(String::new()));
    let of_proxy = Arc::clone(&broker);
    let proxy = Proxy::start("127.0.0.1:0", move || {
        of_proxy.lock().expect("no panic").clone()
    });
    let address = proxy.address.to_string();
    let cluster = embedded_as(Some(&address));
    broker
        .lock()
        .expect("no panic")
        .clone_from(&cluster.address);
    let through = Cluster::at(address);
    let bench = Bench::new(&through);
    let mut child = bench
        .command(&[
            "produce",
            "--source",
            "simulated",
            "--rate",
            "300",
            "--format",
            "json",
            "--set",
            "Kafka.MessageTimeoutMs=2000",
            "--set",
            "Kafka.RequestTimeoutMs=1000",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    for _ in 0..2 {
        sleep(Duration::from_secs(2));
        proxy.darken(true);
        sleep(Duration::from_secs(4));
        proxy.darken(false);
    }
    sleep(Duration::from_secs(4));
    let running = child.try_wait().expect("a child").is_none();
    if running {
        signal(&child, "TERM");
    }
    let status = wait(&mut child, Duration::from_secs(60));
    let output = child.wait_with_output().expect("its output");
    let text = stderr(&output);
    assert!(running, "it ended in the dark: {text}");
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{text}");
    assert!(text.contains("trying again"), "nothing timed out: {text}");
    let made = last_json(&output);
    let read = bench.json(&[
        "consume",
        "--until-end",
        "--set",
        "Output.Columns=Symbol,Side,Quantity,Price,Timestamp,TradeId",
    ]);
    let rows = rows(&bench.out());
    let ids: BTreeSet<_> = rows
        .iter()
        .filter_map(|row| row.rsplit(',').next())
        .collect();
    assert_eq!(ids.len(), rows.len(), "doubled: {made} {read}\n{text}");
    assert_eq!(made["published"], rows.len() as u64, "{read}\n{text}");
    assert!(rows.len() > 1_000, "{made}");
}
