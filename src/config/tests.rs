//! Layers, names and masks, without files: what a file holds is parsed from text.

use std::path::Path;

use super::layers::layer::Layers;
use super::*;

/// Texts of files, later wins, and the rest of the inputs.
pub(super) fn load(files: &[&str], inputs: &Inputs) -> Result<Config, ConfigError> {
    let mut layers = Layers::new(keys::TABLE);
    layers.apply(state_directory(&inputs.variables), true);
    for (index, text) in files.iter().enumerate() {
        match super::layers::file::parse(text, Path::new(&format!("{index}.json"))) {
            Ok(writes) => layers.apply(writes, false),
            Err(problem) => layers.problems.push(problem),
        }
    }
    Config::finish(layers, inputs)
}

pub(super) fn file(text: &str) -> Result<Config, ConfigError> {
    load(&[text], &Inputs::default())
}

fn wrong(text: &str) -> String {
    file(text).expect_err(text).to_string()
}

pub(super) fn variables(pairs: &[(&str, &str)]) -> Inputs {
    Inputs {
        variables: pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        ..Inputs::default()
    }
}

pub(super) fn set(pairs: &[(&str, &str)]) -> Inputs {
    Inputs {
        sets: pairs
            .iter()
            .map(|(path, value)| ((*path).to_owned(), (*value).to_owned()))
            .collect(),
        ..Inputs::default()
    }
}

fn value(config: &Config, path: &str) -> serde_json::Value {
    let entry = config
        .entries()
        .iter()
        .find(|entry| entry.key.path() == path);
    entry.expect(path).value.clone()
}

#[test]
fn every_default_is_legal_and_named_once() {
    let config = load(&[], &Inputs::default()).expect("the defaults");
    assert!(config.warnings().is_empty());
    assert!(
        config
            .entries()
            .iter()
            .all(|entry| entry.origin == Origin::Default)
    );
    assert_eq!(
        config.entries().len(),
        keys().filter(|key| key.supported).count()
    );
    let mut names: Vec<_> = keys().map(|key| key.path().to_lowercase()).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(keys().all(|key| !key.doc.is_empty() && !key.doc.starts_with(' ')));
}

#[test]
fn a_default_may_be_written_out_also_of_a_key_that_is_not_there_yet() {
    for key in keys() {
        let inputs = set(&[(&key.path(), key.default)]);
        assert!(load(&[], &inputs).is_ok(), "{}", key.path());
    }
}

#[test]
fn a_file_of_kafkastockflow_works_as_it_is() {
    let config = file(
        r#"{ "Kafka": { "BootstrapServers": "localhost:9092", "GroupId": "stock-trade-consumers", "Topic": "stock-trades" },
             "AlphaVantage": { "ApiKey": "YOUR_API_KEY_HERE", "Symbol": "AAPL" },
             "Logging": { "LogLevel": { "Default": "Warning", "Microsoft": "Error" } } }"#,
    )
    .expect("a good file");
    assert_eq!(config.alpha_vantage.symbols, ["AAPL"]);
    assert_eq!(config.logging.level, Level::Warn);
    assert_eq!(
        config.origin("AlphaVantage.Symbols").to_string(),
        "0.json:2"
    );
    let lacking = config
        .check_source()
        .expect_err("a placeholder is no key")
        .to_string();
    assert!(
        lacking.contains("placeholder") && lacking.contains("--source simulated"),
        "{lacking}"
    );
    let plain = file(r#"{"Logging":{"LogLevel":"Information"}}"#).expect("a good file");
    assert_eq!(plain.logging.level, Level::Info);
}

#[test]
fn comments_trailing_commas_and_a_schema_are_welcome() {
    let text = "\u{feff}// mine\n{ \"$schema\": \"x\", /* a */ \"kafka\": { \"TOPIC\": \"t\", }, \"Kafka:GroupId\": \"g\", }";
    let config = file(text).expect("a good file");
    assert_eq!(
        (config.kafka.topic.as_str(), config.kafka.group_id.as_str()),
        ("t", "g")
    );
    assert_eq!(config.origin("Kafka.Topic").to_string(), "0.json:2");
    assert!(wrong("{\n \"Kafka\": [").contains("0.json:2: not valid JSON"));
    assert!(wrong("[]").contains("is an object"));
    assert!(wrong(&"[".repeat(100_000)).contains("0.json:1"));
    assert!(wrong(r#"{"Kafka":5}"#).contains("this is a section"));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let error = wrong(
        "{\"Kafka\":{\n\"BootstrapServer\":\"a:1\",\n\"bootstrap.servers\":\"b:1\",\"Directory\":\"x\"}}",
    );
    assert!(error.contains("Kafka.BootstrapServer (0.json:2): there is no such key; the nearest is Kafka.BootstrapServers"));
    assert!(error.contains("Kafka.bootstrap.servers (0.json:3): there is no such key; the nearest is Kafka.BootstrapServers"));
    assert!(error.contains("Output.Directory"), "{error}");
    let error = load(
        &[],
        &variables(&[("Kafka__Topc", "x"), ("Other__Thing", "y")]),
    )
    .expect_err("misspelt")
    .to_string();
    assert!(
        error.contains("variable Kafka__Topc")
            && error.contains("Kafka.Topic")
            && !error.contains("Other"),
        "{error}"
    );
    assert!(
        load(&[], &set(&[("Kafak.Topic", "x")]))
            .expect_err("misspelt")
            .to_string()
            .contains("Kafka.Topic")
    );
}

#[test]
fn what_belongs_to_others_is_named_in_warnings() {
    let config = file(
        r#"{ "AllowedHosts": "*", "Serilog": { "MinimumLevel": "Debug", "WriteTo": [ { "Name": "Console" } ] },
             "Kafka": { "EnableAutoCommit": true, "acks": "1", "StatisticsIntervalMs": 5 } }"#,
    )
    .expect("a good file");
    let warnings = config.warnings();
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(warnings[0].contains("AllowedHosts, Serilog"));
    assert!(warnings.iter().any(
        |warning| warning.contains("Kafka.acks") && warning.contains("acks=all is always used")
    ));
}

#[test]
fn values_are_taken_as_dotnet_and_librdkafka_write_them() {
    for (key, written, shown) in [
        ("Kafka.SecurityProtocol", "PLAINTEXT", "\"Plaintext\""),
        ("Kafka.Partitioner", "Murmur2Random", "\"murmur2_random\""),
        (
            "Kafka.IsolationLevel",
            "ReadUncommitted",
            "\"read_uncommitted\"",
        ),
        (
            "Kafka.PartitionAssignmentStrategy",
            "CooperativeSticky",
            "\"cooperative-sticky\"",
        ),
        (
            "Kafka.Partitioner",
            "ConsistentRandom",
            "\"consistent_random\"",
        ),
        ("Kafka.CompressionType", "None", "\"none\""),
        ("Kafka.CompressionType", "Zstd", "\"zstd\""),
        ("Kafka.EnableIdempotence", "True", "true"),
        ("AlphaVantage.ExtendedHours", "FALSE", "false"),
        ("Kafka.LingerMs", "20", "20"),
        ("Source.Kind", "AlphaVantage", "\"alpha-vantage\""),
        ("Logging.Level", "Information", "\"info\""),
    ] {
        let config = load(&[], &set(&[(key, written)])).expect(key);
        assert_eq!(value(&config, key).to_string(), shown);
    }
}

#[test]
fn limits_of_requests_and_their_zone() {
    for (key, written, shown) in [
        ("AlphaVantage.RequestsPerDay", "AUTO", "\"auto\""),
        ("AlphaVantage.RequestsPerDay", "500", "500"),
        ("AlphaVantage.RequestsPerMinute", "0", "0"),
        (
            "AlphaVantage.DayResetTimeZone",
            "europe/berlin",
            "\"Europe/Berlin\"",
        ),
    ] {
        let config = load(&[], &set(&[(key, written)])).expect(key);
        assert_eq!(value(&config, key).to_string(), shown);
    }
    for (key, written) in [
        ("AlphaVantage.RequestsPerDay", "-1"),
        ("AlphaVantage.RequestsPerMinute", "many"),
        ("AlphaVantage.DayResetTimeZone", "Mars/Olympus"),
    ] {
        load(&[], &set(&[(key, written)])).expect_err(key);
    }
}

#[test]
fn what_this_version_does_not_have_is_refused() {
    for (key, written) in [
        ("Kafka.SecurityProtocol", "SASL_SSL"),
        ("Kafka.SaslMechanism", "SCRAM-SHA-256"),
        ("Kafka.SaslPassword", "hunter2"),
        ("Kafka.SchemaRegistryUrl", "http://r"),
        ("Kafka.Partitioner", "fnv1a"),
        ("Server.Address", ":8080"),
    ] {
        let error = load(&[], &set(&[(key, written)]))
            .expect_err(key)
            .to_string();
        assert!(
            error.contains("(--set): this version does not have"),
            "{error}"
        );
        assert!(!error.contains("hunter2"));
    }
}

#[test]
fn all_mistakes_are_told_together() {
    let error = file(
        r#"{ "Kafka": { "Topic": "a/b", "GroupId": "", "HeartbeatIntervalMs": "60000", "MaxInFlight": 6, "LingerMs": [1] },
             "AlphaVantage": { "PollSeconds": 59, "Symbol": "IBM", "Symbols": ["A"], "BaseUrl": "http://user:pass@x" },
             "Output": { "Columns": "Symbol,Symbol" } }"#,
    )
    .expect_err("many mistakes");
    assert_eq!(error.problems().len(), 9, "{error}");
    assert!(!error.to_string().contains("pass@"));
    assert!(
        wrong(r#"{"Kafka":{"SessionTimeoutMs":2000}}"#)
            .contains("HeartbeatIntervalMs (3000) must be less")
    );
}

#[test]
fn one_setting_is_given_once_a_layer() {
    assert!(wrong(r#"{"Kafka":{"Topic":"a","topic":"b"}}"#).contains("are the same setting"));
    assert!(
        wrong(r#"{"AlphaVantage":{"ApiKey":"a","ApiKeyFile":"b"}}"#)
            .contains("are the same setting")
    );
    let twice = set(&[("Kafka.Topic", "a"), ("kafka:topic", "b")]);
    assert_eq!(
        load(&[], &twice).expect("the last one counts").kafka.topic,
        "b"
    );
    let other = set(&[("AlphaVantage.Symbol", "A"), ("AlphaVantage.Symbols", "B")]);
    assert!(load(&[], &other).is_err());
}

#[test]
fn later_layers_replace_other_spellings() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("key");
    std::fs::write(&path, "from-file\n").expect("a file");
    let path = path.to_str().expect("UTF-8");
    let read = |config: &Config| {
        use secrecy::ExposeSecret;
        let key = config.alpha_vantage.api_key.as_ref().expect("a key").read();
        key.expect("readable").expose_secret().to_owned()
    };
    let inline = r#"{"AlphaVantage":{"ApiKey":"inline","Symbol":"A"}}"#;
    let config = load(&[inline], &variables(&[("AlphaVantage__ApiKeyFile", path)])).expect("good");
    assert_eq!(read(&config), "from-file");
    assert!(
        value(&config, "AlphaVantage.ApiKey")
            .as_str()
            .is_some_and(|shown| shown.ends_with(&format!("{path})")))
    );
    let in_file = format!(r#"{{"AlphaVantage":{{"ApiKeyFile":{path:?}}}}}"#);
    let config = load(&[&in_file, inline], &Inputs::default()).expect("good");
    assert_eq!(read(&config), "inline");

    let indexed = variables(&[
        ("AlphaVantage__Symbols__1", "C"),
        ("ALPHAVANTAGE__SYMBOLS__0", "B"),
    ]);
    let config = load(&[inline], &indexed).expect("good");
    assert_eq!(config.alpha_vantage.symbols, ["B", "C"]);
    let missing = load(
        &[],
        &set(&[("AlphaVantage.ApiKeyFile", "/nonexistent/key")]),
    )
    .expect_err("not there");
    assert!(
        missing.to_string().contains("/nonexistent/key"),
        "{missing}"
    );
}

#[test]
fn systemds_state_directory_is_a_default() {
    let config = load(
        &[],
        &variables(&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")]),
    )
    .expect("good");
    assert_eq!(config.state.directory, Path::new("/var/lib/a"));
    let config = load(
        &[r#"{"State":{"Directory":"mine"}}"#],
        &variables(&[("STATE_DIRECTORY", "/x")]),
    )
    .expect("good");
    assert_eq!(config.state.directory, Path::new("mine"));
}
