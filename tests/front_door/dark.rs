//! A network that goes dark for longer than `Kafka.MessageTimeoutMs`, and delivers late what was sent into it: a command
//! without an end goes on, and every event is on the topic once; others end and say what may have been written.

use std::{
    collections::BTreeSet,
    process::{Child, Output, Stdio},
    sync::{Arc, Mutex},
    thread::sleep,
    time::Duration,
};

use crate::{proxy::Proxy, support::*};

/// An embedded broker that clients reach through a proxy.
pub(crate) fn behind_a_proxy() -> (Cluster, Proxy) {
    let broker = Arc::new(Mutex::new(String::new()));
    let of_proxy = Arc::clone(&broker);
    let proxy = Proxy::start("127.0.0.1:0", move || {
        of_proxy.lock().expect("no panic").clone()
    });
    let address = proxy.address.to_string();
    let mut cluster = embedded_as(Some(&address));
    broker
        .lock()
        .expect("no panic")
        .clone_from(&cluster.address);
    cluster.address = address;
    (cluster, proxy)
}

fn produce(bench: &Bench<'_>, more: &[&str]) -> Child {
    bench
        .command(&["produce", "--source", "simulated", "--rate", "300"])
        .args(["--format", "json"])
        .args(["--set", "Kafka.MessageTimeoutMs=2000"])
        .args(["--set", "Kafka.RequestTimeoutMs=1000"])
        .args(["--set", "Kafka.ReconnectBackoffMaxMs=500"])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

/// Asks it to stop, which it must not have done before.
fn stop(mut child: Child) -> Output {
    let running = child.try_wait().expect("a child").is_none();
    if running {
        signal(&child, "TERM");
    }
    let status = wait(&mut child, Duration::from_secs(60));
    let output = child.finish();
    let text = stderr(&output);
    assert!(running, "it ended by itself: {text}");
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{text}");
    output
}

/// What was published is on the topic, once.
fn check(bench: &Bench<'_>, output: &Output) {
    let text = stderr(output);
    let made = last_json(output);
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
    assert!(rows.len() > 600, "{made}");
}

#[test]
fn what_is_not_acknowledged_in_the_dark_is_sent_until_it_is_and_published_once() {
    let (cluster, proxy) = behind_a_proxy();
    let bench = Bench::new(&cluster);
    let child = produce(&bench, &[]);
    for _ in 0..2 {
        sleep(Duration::from_secs(2));
        proxy.darken(true);
        sleep(Duration::from_secs(4));
        proxy.darken(false);
    }
    sleep(Duration::from_secs(4));
    let output = stop(child);
    let text = stderr(&output);
    for said in ["Kafka.MessageTimeoutMs", "acknowledged again"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    check(&bench, &output);
}

/// The hole that a new identity would open: what was sent before it is appended after it was looked for.
#[test]
fn what_the_network_delivers_after_everything_was_given_up_doubles_nothing() {
    let (cluster, proxy) = behind_a_proxy();
    let bench = Bench::new(&cluster);
    let child = produce(&bench, &[]);
    sleep(Duration::from_secs(2));
    proxy.keep_back();
    // Longer than the request may take, and than the message may.
    sleep(Duration::from_millis(500));
    proxy.darken(true);
    sleep(Duration::from_secs(4));
    proxy.darken(false);
    sleep(Duration::from_secs(4));
    let late = proxy.deliver();
    assert!(late > 200, "{late} bytes: no request was kept back");
    sleep(Duration::from_secs(2));
    let output = stop(child);
    check(&bench, &output);
}

#[test]
fn a_broker_that_is_gone_and_comes_back_costs_nothing() {
    let (cluster, proxy) = behind_a_proxy();
    let bench = Bench::new(&cluster);
    let child = produce(&bench, &[]);
    sleep(Duration::from_secs(2));
    proxy.vanish(true);
    sleep(Duration::from_secs(4));
    proxy.vanish(false);
    sleep(Duration::from_secs(3));
    let output = stop(child);
    let text = stderr(&output);
    for said in ["Kafka.BootstrapServers", "can be reached again"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    check(&bench, &output);
}

#[test]
fn a_one_shot_command_ends_in_the_dark_and_says_what_may_have_been_written() {
    let (cluster, proxy) = behind_a_proxy();
    let bench = Bench::new(&cluster);
    let mut child = produce(&bench, &["--count", "100000"]);
    sleep(Duration::from_secs(2));
    proxy.darken(true);
    let status = wait(&mut child, Duration::from_secs(60));
    if status.is_none() {
        child.kill().expect("a process");
    }
    let output = child.finish();
    let text = stderr(&output);
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{text}");
    for said in [
        "Kafka.MessageTimeoutMs",
        "it may have been written",
        "TradeId",
        &*bench.topic,
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}
