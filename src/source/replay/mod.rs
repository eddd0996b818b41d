//! Replays saved files: Alpha Vantage bodies (JSON or CSV) and TradeEvents (JSON objects in any layout, or rows of CSV),
//! plain, gzip, zstd or LZ4, told apart by content.
//!
//! Invariants: files go in their order, those of a directory in the order of their names, and by the times of their events
//! where these set the pace; a file that was not replayed, or not all of it, is named, holds up no other, and ends the
//! replay with an error; events are streamed, so a file of any size takes little memory; every bar of a saved body counts
//! as closed.

mod events;
mod fault;
mod form;
mod inputs;
mod lines;
mod merge;
mod pace;
mod progress;
mod reader;
mod rows;
mod seen;
mod unpack;
mod values;

use compact_str::CompactString;
use futures::future::BoxFuture;
use tokio::sync::mpsc::{Receiver, channel};

pub use self::fault::ReplayFault;
pub use self::inputs::STDIN;
use self::merge::merge_all;
use self::pace::Pace;
use self::reader::{Lost, Message, read_all};
use self::seen::Seen;
use super::bars::Interval;
use super::{Batch, Source, SourceError};

/// Batches that wait for whoever publishes: one that is ready while the next is read.
const MAX_WAITING_BATCHES: usize = 2;

/// Settings of a replay.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The files, [`STDIN`] for the standard input, which can be named once.
    pub inputs: Vec<String>,
    /// The symbol of CSV bodies, which do not say it: exactly one. JSON bodies are of the symbol that they say, with a
    /// warning when it is none of these.
    pub symbols: Vec<CompactString>,
    /// The interval of CSV bodies of minutes, where it is said: their rows have to show it otherwise.
    pub interval: Option<Interval>,
    /// Whether it is said that CSV bodies are of days.
    pub daily: bool,
    /// Whether the prices of intraday bodies are adjusted.
    pub adjusted: bool,
    /// By the events' own times, so many times as fast; `None` is as fast as they are taken.
    pub speed: Option<f64>,
}

/// A replay.
#[derive(Debug)]
pub struct Replay {
    /// Taken by the reading thread, which starts with the first poll.
    waiting: Option<(Settings, Lost)>,
    batches: Option<Receiver<Message>>,
    pace: Option<Pace>,
    /// Waits for its time.
    pending: Option<Batch>,
    seen: Seen,
}

impl Replay {
    /// A replay of the files that are there; nothing is read before the first poll.
    ///
    /// # Errors
    /// None of the files is there.
    pub fn new(mut settings: Settings) -> Result<Self, SourceError> {
        if settings.inputs.is_empty() {
            return Err(SourceError::Setting {
                setting: "Source.Input",
                problem: "no file is given; name one with --input (- is standard input)".to_owned(),
            });
        }
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        for path in settings.inputs {
            if path != STDIN {
                inputs::find(&path, &mut files, &mut missing);
            } else if files.contains(&path) {
                let fault = ReplayFault::Twice;
                missing.push((path, fault));
            } else {
                files.push(path);
            }
        }
        let (of, none) = (files.len() + missing.len(), files.is_empty());
        let mut lost = Lost::of(of);
        for (path, fault) in missing {
            let error = SourceError::Replay { path, fault };
            match (none, of) {
                (true, 1) => return Err(error),
                (true, _) => tracing::error!("{error}"),
                (false, _) => lost.note(error),
            }
        }
        if none {
            return Err(SourceError::NotReplayed { lost: of, of });
        }
        settings.inputs = files;
        Ok(Self {
            pace: settings.speed.map(Pace::new),
            waiting: Some((settings, lost)),
            batches: None,
            pending: None,
            seen: Seen::default(),
        })
    }

    async fn advance(&mut self) -> Result<Option<Batch>, SourceError> {
        loop {
            let (Some(pace), Some(batch)) = (&mut self.pace, &mut self.pending) else {
                let next = self.receive().await?;
                if self.pace.is_none() || next.as_ref().is_none_or(|batch| batch.events.is_empty())
                {
                    return Ok(next);
                }
                self.pending = next;
                continue;
            };
            let now = tokio::time::Instant::now();
            let due = pace.due(&batch.events, now);
            if due == 0 {
                if let Some(event) = batch.events.first() {
                    tokio::time::sleep_until(pace.at(event, now)).await;
                }
                continue;
            }
            let later = batch.events.split_off(due);
            let later = (!later.is_empty()).then(|| Batch {
                events: later,
                origin: batch.origin.clone(),
                bad: super::BadCounts::default(),
                more: batch.more,
            });
            return Ok(std::mem::replace(&mut self.pending, later));
        }
    }

    fn say_conflicts(&mut self) {
        if let Some(conflicts) = self.seen.conflicts() {
            tracing::warn!("{conflicts}");
        }
    }

    async fn receive(&mut self) -> Result<Option<Batch>, SourceError> {
        if let Some((settings, lost)) = self.waiting.take() {
            let (sender, receiver) = channel(MAX_WAITING_BATCHES);
            let first = settings.inputs.first().cloned().unwrap_or_default();
            // Not the runtime's blocking pool: a read of stdin may never return, and the runtime would wait for it.
            std::thread::Builder::new()
                .name("replay".to_owned())
                .spawn(
                    move || match settings.speed.is_some() && settings.inputs.len() > 1 {
                        true => merge_all(&settings, lost, &sender),
                        false => read_all(&settings, lost, &sender),
                    },
                )
                .map_err(|error| SourceError::Replay {
                    path: first,
                    fault: error.into(),
                })?;
            self.batches = Some(receiver);
        }
        let Some(batches) = &mut self.batches else {
            return Ok(None);
        };
        let message = batches.recv().await;
        match &message {
            Some(Ok(batch)) => {
                for event in &batch.events {
                    self.seen.note(event);
                }
            }
            _ => {
                self.batches = None;
                self.say_conflicts();
            }
        }
        message.transpose()
    }
}

impl Source for Replay {
    fn poll(&mut self) -> BoxFuture<'_, Result<Option<Batch>, SourceError>> {
        Box::pin(self.advance())
    }

    fn may_repeat(&self) -> bool {
        true
    }

    fn repeated(&self) -> u64 {
        self.seen.repeated
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        // It may be stopped before its end.
        self.say_conflicts();
    }
}

#[cfg(test)]
mod tests;
