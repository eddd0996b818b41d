//! Market data comes in here: Alpha Vantage, replayed files, a simulated market, all behind one trait.
//!
//! Invariants: a source never runs ahead of whoever publishes (it works when it is polled, or fills a short bounded
//! queue); what it hands out is a good [`TradeEvent`], oldest first within a batch; what it could not make an event of
//! is counted by reason and logged once; no secret is in an error or a log line.

pub mod alpha_vantage;
pub mod replay;
pub mod simulated;

pub mod bars;
mod destination;
mod error;
mod error_class;
mod market_hours;
mod redact;
mod unknown_value;

use std::sync::Arc;

use futures::future::{BoxFuture, ready};

use crate::event::TradeEvent;

pub use destination::Destination;
pub use error::SourceError;
pub use error_class::ErrorClass;
pub use unknown_value::UnknownValue;

/// The most events of one batch: some 0.5 MB of JSON, so that a batch is small beside the publisher's own buffer.
pub const MAX_BATCH_EVENTS: usize = 4096;

/// Where events come from.
pub trait Source: Send {
    /// The next events; `None` when the source has ended, and then for ever.
    ///
    /// - Waits as long as there is nothing, and paces itself: whoever polls need not wait between two calls.
    /// - Safe to cancel: dropping the future loses no event, and no request that is under way is sent twice.
    /// - The same event may come again (a poll that overlaps the one before): who publishes tells by the TradeId.
    /// - A batch without events is a sign of life, or brings only [`Batch::bad`].
    ///
    /// # Errors
    /// [`SourceError::class`] says what to do. After [`ErrorClass::Retriable`] and [`ErrorClass::Symbol`] go on
    /// polling: the source itself waits before it tries again, and has set the symbol aside. After the others it has ended.
    fn poll(&mut self) -> BoxFuture<'_, Result<Option<Batch>, SourceError>>;

    /// Where the events go; said before the first poll. A source that is to resume where a former process stopped tells by it
    /// what that process did; the others need not know.
    fn goes_to(&mut self, _: &Destination) {}

    /// Everything that was handed out so far is on the topic, acknowledged. A source that is to resume where a former
    /// process stopped notes it; the others need not know. Safe to cancel: it is noted the next time.
    fn settled(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    /// Whether its events can have been published before, by this or a former process, so that whoever publishes has
    /// to look them up by TradeId.
    fn may_repeat(&self) -> bool;

    /// How many of the events so far repeat one that this source gave before, where it counts these.
    fn repeated(&self) -> u64 {
        0
    }

    /// Whether no event is ever given before its own time, by this or a former process.
    fn is_after_the_fact(&self) -> bool {
        false
    }
}

/// Events that arrived together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// At most [`MAX_BATCH_EVENTS`], oldest first where the source knows an order.
    pub events: Vec<TradeEvent>,
    /// What they were made of, the value of the record header `stockflow-source`: `intraday/1min`, `daily`,
    /// `simulated`, `replay`.
    pub origin: Arc<str>,
    /// What no event could be made of, since the batch before.
    pub bad: BadCounts,
    /// Whether the next batch is of the same poll.
    pub more: bool,
}

impl Batch {
    /// Cuts any number of events into batches; `bad` goes with the first one, which may be without events.
    fn split(
        events: Vec<TradeEvent>,
        origin: &Arc<str>,
        bad: BadCounts,
    ) -> impl Iterator<Item = Self> {
        let mut bad = Some(bad);
        let mut events = events.into_iter();
        std::iter::from_fn(move || {
            let part: Vec<_> = events.by_ref().take(MAX_BATCH_EVENTS).collect();
            let bad = bad.take();
            (!part.is_empty() || bad.is_some()).then(|| Self {
                events: part,
                origin: Arc::clone(origin),
                bad: bad.unwrap_or_default(),
                more: events.len() > 0,
            })
        })
    }
}

/// Why a bar or a line became no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BadReason {
    /// The bar is no object, or the row has too few fields.
    Malformed,
    /// A field that is needed is not there.
    MissingField,
    /// The open or the close is no decimal number (`None`, say).
    Price,
    /// The volume is no integer from 0 to 2^64 - 1.
    Volume,
    /// The time is none, or does not exist in its zone.
    Time,
    /// A line is no TradeEvent.
    NotATrade,
    /// A line is longer than a line may be.
    TooLong,
}

impl BadReason {
    /// Every reason, in the order of their places in [`BadCounts`].
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::MissingField,
        Self::Price,
        Self::Volume,
        Self::Time,
        Self::NotATrade,
        Self::TooLong,
    ];

    /// The reason as a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::MissingField => "missing_field",
            Self::Price => "price",
            Self::Volume => "volume",
            Self::Time => "time",
            Self::NotATrade => "not_a_trade",
            Self::TooLong => "too_long",
        }
    }
}

impl BadReason {
    /// The reason as a person reads it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Malformed => "the form is not a bar's",
            Self::MissingField => "open, close or volume is not there",
            Self::Price => "the open or the close is no decimal number",
            Self::Volume => "the volume is no whole number",
            Self::Time => {
                "the time is not written as 2025-11-06 15:59:00 (or 2025-11-06, for days), as a spreadsheet may have rewritten it, or does not exist in its zone"
            }
            Self::NotATrade => "it is no TradeEvent",
            Self::TooLong => "it is too long",
        }
    }
}

/// How many bars or lines were bad, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BadCounts([u64; BadReason::ALL.len()]);

impl BadCounts {
    /// Counts one more.
    pub fn add(&mut self, reason: BadReason) {
        self.0[reason as usize] += 1;
    }

    /// Counts what others counted.
    fn extend(&mut self, others: &Self) {
        for (sum, count) in self.0.iter_mut().zip(others.0) {
            *sum += count;
        }
    }

    /// The reasons that occurred, each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (BadReason, u64)> + '_ {
        BadReason::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}
