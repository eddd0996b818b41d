//! What holds for any configuration.

use proptest::prelude::*;

use super::tests::{file, load, set, variables};
use super::*;

/// A name with the case of each letter drawn.
fn any_case(name: &'static str) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<bool>(), name.len()).prop_map(move |upper| {
        let case = |(c, upper): (char, bool)| {
            if upper {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            }
        };
        name.chars().zip(upper).map(case).collect()
    })
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        "\\PC{0,8}".prop_map(serde_json::Value::from),
    ];
    let paths: Vec<&'static str> = keys().flat_map(|key| [key.section, key.name]).collect();
    let name =
        prop_oneof![4 => proptest::sample::select(paths).prop_map(str::to_owned), 1 => "\\PC{0,6}"];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::hash_map(name.clone(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_last_layer_that_sets_a_key_wins(given in proptest::array::uniform5(proptest::option::of("[a-z]{1,9}"))) {
        let [first, second, variable, set, flag] = given;
        let text = |value: &Option<String>| match value {
            Some(value) => format!(r#"{{"Kafka":{{"Topic":"{value}"}}}}"#),
            None => "{}".to_owned(),
        };
        let inputs = Inputs {
            files: Vec::new(),
            variables: variable.iter().map(|value| ("Kafka__Topic".into(), value.into())).collect(),
            sets: set.iter().map(|value| ("Kafka.Topic".to_owned(), value.clone())).collect(),
            overrides: flag.iter().map(|value| Override {
                path: "Kafka.Topic",
                flag: "--topic",
                given: Given::One(value.clone()),
            }).collect(),
        };
        let config = load(&[&text(&first), &text(&second)], &inputs).expect("good");
        let layers = [
            (flag, "flag --topic"), (set, "--set"), (variable, "variable Kafka__Topic"), (second, "1.json:1"),
            (first, "0.json:1"), (Some("stock-trades".to_owned()), "default"),
        ];
        let (expected, origin) = layers.into_iter().find_map(|(value, origin)| Some((value?, origin))).expect("a default");
        prop_assert_eq!(&config.kafka.topic, &expected);
        prop_assert_eq!(config.origin("kafka.topic").to_string(), origin);
    }

    #[test]
    fn case_never_counts(section in any_case("AlphaVantage"), key in any_case("Symbol"), kind in any_case("Simulated")) {
        let text = format!(r#"{{"{section}":{{"{key}":"IBM"}},"sOURCE":{{"{kind}":{{"seed":5}}}}}}"#);
        let config = file(&text).expect("good");
        prop_assert_eq!(&config.alpha_vantage.symbols, &["IBM"]);
        prop_assert_eq!(config.simulated.seed, Some(5));
        let config = load(&[], &variables(&[(&format!("{section}__{key}"), "IBM")])).expect("good");
        prop_assert_eq!(&config.alpha_vantage.symbols, &["IBM"]);
    }

    #[test]
    fn no_secret_is_ever_shown(secret in "[!-~]{12,40}") {
        for key in keys().filter(|key| key.is_secret()) {
            let shown = match load(&[], &set(&[(&key.path(), &secret)])) {
                Ok(config) => format!("{}{}{config:?}{:?}", config.to_text(), config.to_json(), config.warnings()),
                Err(error) => format!("{error}{error:?}"),
            };
            prop_assert!(!shown.contains(&secret), "{}", key.path());
            prop_assert!(key.supported != shown.contains("does not have"));
        }
    }

    #[test]
    fn any_json_is_taken_or_refused(json in any_json()) {
        if let Ok(config) = file(&json.to_string()) {
            prop_assert!(!config.to_text().is_empty());
        }
    }

    #[test]
    fn any_text_is_taken_or_refused(text in "\\PC*") {
        let _ = file(&text);
    }
}
