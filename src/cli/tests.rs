//! Arguments without a process.

use crate::pipeline::Format;
use clap::CommandFactory;

use super::*;

fn parsed(line: &str) -> Result<Invocation, Refusal> {
    parse(line.split_whitespace().map(OsString::from), Vec::new())
}

#[test]
fn the_definition_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn every_help_ends_with_examples() {
    for command in [
        "",
        "produce",
        "consume",
        "run",
        "demo",
        "broker",
        "bench",
        "tail",
        "verify",
        "group",
        "check",
        "config",
        "config show",
    ] {
        for flag in ["-h", "--help"] {
            let Err(Refusal::Usage(help)) = parsed(&format!("stockflow {command} {flag}")) else {
                panic!("{command} has no help");
            };
            let help = help.to_string();
            let (_, examples) = help.rsplit_once("Examples:\n").expect("examples");
            let mut lines = examples.trim_end().lines();
            assert!(
                lines.all(|line| line.starts_with("  ") && line.contains("stockflow")),
                "{help}"
            );
        }
    }
}

#[test]
fn every_flag_reaches_its_key() {
    let line = "stockflow run -b a:1,b:2 -t trades -g group --source simulated --symbol IBM,AAPL --input x,y z --rate 2.5 \
                --seed 7 --out csv --from latest -vv --log-format json --count 5 --once --republish --until-end \
                --no-stop-on-key --format json";
    let invocation = parsed(line).expect("a good line");
    let config = &invocation.config;
    assert_eq!(config.kafka.bootstrap_servers[1].to_string(), "b:2");
    assert_eq!(
        (config.kafka.topic.as_str(), config.kafka.group_id.as_str()),
        ("trades", "group")
    );
    assert_eq!(config.alpha_vantage.symbols, ["IBM", "AAPL"]);
    assert_eq!(config.simulated.symbols, ["IBM", "AAPL"]);
    assert_eq!(
        (config.simulated.rate, config.simulated.seed),
        (Some(2.5), Some(7))
    );
    assert_eq!(
        config.source.input,
        [std::path::Path::new("x,y"), std::path::Path::new("z")]
    );
    assert_eq!(config.output.directory, std::path::Path::new("csv"));
    assert_eq!(
        config.kafka.auto_offset_reset,
        crate::config::AutoOffsetReset::Latest
    );
    assert_eq!(config.logging.level, crate::config::Level::Trace);
    assert_eq!(config.origin("Kafka.Topic").to_string(), "flag --topic");
    assert_eq!(config.origin("Logging.Level").to_string(), "flag -vv");
    let Command::Run(options) = invocation.command else {
        panic!("not run");
    };
    assert!(
        options.source.once
            && options.source.republish
            && options.until_end
            && !options.stop_on_key
    );
    assert_eq!((options.count, options.format), (Some(5), Format::Json));
}

#[test]
fn wrong_usage_and_wrong_configuration_are_told_apart() {
    for line in [
        "stockflow",
        "stockflow produce --count 0",
        "stockflow produce --source nowhere",
        "stockflow consume --speed 3",
        "stockflow consume --replay-dead-letters x --count 1",
        "stockflow consume --replay-dead-letters x --until-end",
        "stockflow tail --from -1",
        "stockflow tail --from yesterday",
        "stockflow tail --out x",
        "stockflow bench",
        "stockflow demo --events 1 --seconds 1",
        "stockflow broker --listen a:b:c",
        "stockflow config show --set Kafka.Topic",
        "stockflow config show -v -q",
    ] {
        assert!(matches!(parsed(line), Err(Refusal::Usage(_))), "{line}");
    }
    for line in [
        "stockflow consume -b ::1:9092",
        "stockflow consume -t a/b",
        "stockflow consume --set Kafka.Topc=x",
        "stockflow consume -c not-there.json",
        "stockflow produce",
        "stockflow produce --source replay",
        "stockflow run --source simulated --rate 0",
    ] {
        assert!(
            matches!(parsed(line), Err(Refusal::Configuration(_))),
            "{line}"
        );
    }
}

#[test]
fn a_negative_number_is_refused_for_what_it_is() {
    for line in [
        "produce --count -5",
        "consume --count -5",
        "demo --events -5",
        "demo --seconds -1",
        "produce --seed -5",
        "produce --speed -2",
    ] {
        let Err(Refusal::Usage(error)) = parsed(&format!("stockflow {line}")) else {
            panic!("{line} is taken");
        };
        let said = error.to_string();
        assert!(said.contains("invalid value '-"), "{line}: {said}");
    }
}
