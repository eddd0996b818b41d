//! `consume --replay-dead-letters FILE`: dead letters that somebody repaired become rows of their directory.
//!
//! The file has the form of the dead letters files, a JSON object a line: `topic`, `partition`, `offset`, `key`, and the value
//! in base64 as `value`, or as it is as `value_text`, which counts where both stand. No broker is asked: the directory
//! says itself which topic it belongs to, and which of its records are dead letters.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::Utc;
use serde::{Deserialize, Deserializer};

use crate::pipeline::{PipelineError, Replayed, Report, Stop, Summary, settings};
use crate::{
    config::{Config, Origin},
    sink::{Binding, InputRecord, ReplayOutcome, Sink},
};

/// The longest line that is read, in bytes: more than the largest record that a broker takes, in base64.
const LONGEST_LINE: u64 = 2 << 30;

/// After how many rows they are made durable.
const FLUSH_ROWS: u64 = 100_000;

/// Repaired dead letters into CSV files.
pub async fn replay_dead_letters(config: &Config, file: &Path, stop: &Stop) -> Report {
    let started = Instant::now();
    let (config, file, stop) = (config.clone(), file.to_owned(), stop.clone());
    let work = tokio::task::spawn_blocking(move || {
        let mut done = Replayed::default();
        let outcome = replay(&config, &file, &stop, &mut done);
        (done, outcome)
    });
    let (done, outcome) = work.await.unwrap_or_else(|error| {
        let error = PipelineError::Internal(error.to_string());
        (Replayed::default(), Err(error))
    });
    Report {
        summary: Summary {
            replayed: Some(done),
            took: started.elapsed(),
            ..Summary::default()
        },
        error: outcome.err(),
    }
}

/// A line of the file; what else stands in it is not looked at.
#[derive(Debug, Deserialize)]
struct Line {
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(default)]
    key: Option<String>,
    /// Null where the value was left out because it is too large.
    #[serde(default, deserialize_with = "present")]
    value: Option<Option<String>>,
    #[serde(default)]
    value_text: Option<String>,
}

/// A field that is there, be it null.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// A letter as it is offered to the sink.
#[derive(Debug, PartialEq, Eq)]
struct Letter {
    topic: String,
    partition: i32,
    offset: i64,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

/// Reads one line of the file.
fn read(line: &[u8]) -> Result<Letter, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let base64 = |name: &str, text: &str| {
        STANDARD
            .decode(text)
            .map_err(|error| format!("{name} is not base64: {error}"))
    };
    let value = match (line.value_text, line.value) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(Some(value))) => base64("value", &value)?,
        // As it is, there is nothing in it to become a row.
        (None, Some(None)) => Vec::new(),
        (None, None) => return Err("it has neither a value nor a value_text".to_owned()),
    };
    let key = line.key.map(|key| base64("key", &key)).transpose()?;
    Ok(Letter {
        topic: line.topic,
        partition: line.partition,
        offset: line.offset,
        key,
        value,
    })
}

/// Replays the letters of a file. What was done until then is in `done`, also when it fails.
///
/// # Errors
/// When the directory cannot be used without the brokers, or a line is no dead letter of its topic: what stands before
/// that line is replayed.
pub(crate) fn replay(
    config: &Config,
    file: &Path,
    stop: &Stop,
    done: &mut Replayed,
) -> Result<(), PipelineError> {
    let io = |source| PipelineError::Io {
        action: format!("read {} (--replay-dead-letters)", file.display()),
        source,
    };
    let input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(io)?)
    };
    let mut input = BufReader::new(input);
    let (mut sink, binding) = Sink::open_bound(settings::sink(config)?)?;
    expected(config, &binding)?;
    let mut replay = sink.begin_replay()?;
    close_files(&mut sink, stop)?;
    let mut line = Vec::new();
    let mut outcome = Ok(());
    let mut told = Instant::now();
    for number in 1u64.. {
        line.clear();
        let length = (&mut input)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(io)?;
        if length == 0 || stop.is_requested() {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |problem: String| PipelineError::Io {
            action: format!("replay {}, line {number}", file.display()),
            source: std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("{problem}; the lines before it are replayed"),
            ),
        };
        let letter = match read(&line) {
            Ok(letter) if letter.topic == binding.topic => letter,
            Ok(letter) => {
                outcome = Err(wrong(format!(
                    "it is of topic {}, and {} holds topic {}",
                    letter.topic,
                    config.output.directory.display(),
                    binding.topic
                )));
                break;
            }
            Err(problem) => {
                outcome = Err(wrong(format!("not a dead letter: {problem}")));
                break;
            }
        };
        let record = InputRecord {
            offset: letter.offset,
            key: letter.key.as_deref(),
            value: Some(&letter.value),
            headers: Default::default(),
            too_large: None,
        };
        let (partition, offset) = (letter.partition, letter.offset);
        match sink.replay(&mut replay, partition, &record, Utc::now())? {
            ReplayOutcome::Row => done.waiting += 1,
            ReplayOutcome::Before => done.before += 1,
            ReplayOutcome::Unknown => {
                done.unknown += 1;
                tracing::warn!(
                    partition,
                    offset,
                    "the directory has no dead letter with that partition and offset; the line is skipped"
                );
            }
            ReplayOutcome::Bad(reason) => {
                done.reasons.count(reason);
                tracing::warn!(partition, offset, %reason, "still not a trade; it stays a dead letter");
            }
        }
        if done.waiting >= FLUSH_ROWS || told.elapsed().as_secs() > 10 {
            told = Instant::now();
            flush(&mut sink, &mut replay, done)?;
        }
    }
    flush(&mut sink, &mut replay, done)?;
    sink.end_files()?;
    close_files(&mut sink, stop)?;
    sink.close()?;
    outcome
}

/// Closes the files that are due or ended, unless a stop comes first: the next start does the rest.
fn close_files(sink: &mut Sink, stop: &Stop) -> Result<(), PipelineError> {
    while let Some(packing) = sink.tend(Utc::now())?.packing {
        let packed = packing.run(|| stop.is_requested());
        if packed.is_empty() {
            break;
        }
        sink.packed(packed)?;
    }
    Ok(())
}

fn flush(
    sink: &mut Sink,
    replay: &mut crate::sink::Replay,
    done: &mut Replayed,
) -> Result<(), PipelineError> {
    done.rows += sink.flush_replay(replay)?;
    done.waiting = 0;
    Ok(())
}

/// Holds the directory to the topic and group that somebody set.
fn expected(config: &Config, binding: &Binding) -> Result<(), PipelineError> {
    for (what, path, held, wanted) in [
        ("topic", "Kafka.Topic", &binding.topic, &config.kafka.topic),
        (
            "group",
            "Kafka.GroupId",
            &binding.group,
            &config.kafka.group_id,
        ),
    ] {
        if config.origin(path) != Origin::Default && held != wanted {
            return Err(PipelineError::Setting(format!(
                "{} holds the {what} {held}, and {path} is {wanted}; choose another directory with --out",
                config.output.directory.display()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_value_in_base64_or_as_text() {
        let letter = |value: &[u8]| Letter {
            topic: "t".to_owned(),
            partition: 1,
            offset: 2,
            key: Some(b"K".to_vec()),
            value: value.to_vec(),
        };
        let line =
            |more: &str| format!(r#"{{"topic":"t","partition":1,"offset":2,"key":"Sw==",{more}}}"#);
        let read = |more: &str| read(line(more).as_bytes());
        assert_eq!(read(r#""value":"/w==","reason":"x""#), Ok(letter(b"\xff")));
        assert_eq!(
            read(r#""value":"/w==","value_text":"{}""#),
            Ok(letter(b"{}"))
        );
        // It was left out: the line may stay among those that are repaired.
        assert_eq!(read(r#""value":null"#), Ok(letter(b"")));
        for wrong in [r#""value":"?""#, r#""value":7"#, r#""reason":"x""#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
