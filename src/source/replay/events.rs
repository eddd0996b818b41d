//! TradeEvents of a file: JSON objects however they are laid out, or rows of CSV. Streamed, so a file of any size takes
//! little memory. What is no event is passed over, counted, and said at the end: such a file was not replayed as a whole.

use std::collections::HashSet;
use std::io::{BufReader, Read};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use super::ReplayFault;
use super::lines::{Line, next_line};
use super::reader::Gone;
use super::rows::{Header, part};
use super::values::{Found, Values};
use crate::event::{NotATrade, TradeEvent};
use crate::source::{BadCounts, BadReason, Batch, MAX_BATCH_EVENTS};

/// Takes a batch, or wants no more.
pub(super) type Out<'a> = &'a dyn Fn(Batch) -> Result<(), Gone>;

/// Replays JSON objects; the first byte of the input is on this line.
pub(super) fn replay_objects(
    path: &str,
    input: BufReader<impl Read>,
    line: u64,
    out: Out<'_>,
) -> Result<Result<(), Gone>, ReplayFault> {
    let mut file = File::new(path, out);
    let mut values = Values::new(input, line);
    let mut value = Vec::new();
    let open = loop {
        match values.next(&mut value)? {
            Found::End { open } => break open,
            Found::TooLong { line } => file.too_long(line),
            Found::Other { line } => {
                file.bad(line, &NotATrade::Json("not a whole JSON object".to_owned()))
            }
            Found::Object { line, place } => match TradeEvent::from_json(&value, place) {
                Ok(event) => file.batch.events.push(event),
                Err(problem) => {
                    file.bad(line, &problem);
                    // What breaks off on its first line may have taken the events behind it for its own.
                    if serde_json::from_slice::<serde::de::IgnoredAny>(&value).is_err() {
                        values.reconsider(&value);
                    }
                }
            },
        }
        // A pipe that pauses must not hold back what came through it.
        if (file.is_full() || values.waits(BufReader::buffer))
            && let Err(Gone) = file.flush()
        {
            return Ok(Err(Gone));
        }
    };
    file.finish(open)
}

/// Replays rows of CSV; the first of the input is the header, on this line.
pub(super) fn replay_rows(
    path: &str,
    header: &Header,
    mut input: BufReader<impl Read>,
    mut number: u64,
    out: Out<'_>,
) -> Result<Result<(), Gone>, ReplayFault> {
    if !header.has_ids() {
        tracing::info!(
            path,
            "its rows have no TradeId, so each gets one made from its fields and line number; a topic that has these trades already gets them a second time"
        );
    }
    let mut file = File::new(path, out);
    // Equal trades on the same line of two parts of a day are two.
    let apart = part(path);
    let mut line = Vec::new();
    next_line(&mut input, &mut line)?;
    loop {
        number += 1;
        match next_line(&mut input, &mut line)? {
            Line::End => return file.finish(false),
            Line::TooLong => file.too_long(number),
            Line::Whole if line.trim_ascii().is_empty() => {}
            Line::Whole => match header.event(&line, apart.wrapping_add(number)) {
                Some(Ok(event)) => file.batch.events.push(event),
                Some(Err(problem)) => file.bad(number, &problem),
                // Files that were put together have their headers in the middle.
                None if Header::read(&line).as_ref() == Some(header) => {}
                None => file.bad(number, &NotATrade::Row),
            },
        }
        if (file.is_full() || input.buffer().is_empty())
            && let Err(Gone) = file.flush()
        {
            return Ok(Err(Gone));
        }
    }
}

/// A file that is being replayed.
struct File<'a> {
    path: &'a str,
    out: Out<'a>,
    batch: Batch,
    events: u64,
    bad: u64,
    first_bad: Option<(u64, String)>,
    /// Kinds of problems that were said.
    said: HashSet<Option<Discriminant<NotATrade>>>,
}

impl<'a> File<'a> {
    fn new(path: &'a str, out: Out<'a>) -> Self {
        Self {
            path,
            out,
            batch: Self::nothing(&"replay".into()),
            events: 0,
            bad: 0,
            first_bad: None,
            said: HashSet::new(),
        }
    }

    fn nothing(origin: &Arc<str>) -> Batch {
        Batch {
            events: Vec::new(),
            origin: Arc::clone(origin),
            bad: BadCounts::default(),
            more: false,
        }
    }

    fn bad(&mut self, line: u64, problem: &NotATrade) {
        self.batch.bad.add(BadReason::NotATrade);
        self.tell(line, Some(discriminant(problem)), &problem.to_string());
    }

    fn too_long(&mut self, line: u64) {
        self.batch.bad.add(BadReason::TooLong);
        self.tell(line, None, "too long for an event");
    }

    fn tell(&mut self, line: u64, kind: Option<Discriminant<NotATrade>>, problem: &str) {
        self.bad += 1;
        if self.first_bad.is_none() {
            self.first_bad = Some((line, problem.to_owned()));
        }
        if self.said.insert(kind) {
            tracing::warn!(
                path = self.path,
                line,
                "skipped: {problem}; others like it are only counted"
            );
        }
    }

    fn is_full(&self) -> bool {
        self.batch.events.len() >= MAX_BATCH_EVENTS
    }

    fn flush(&mut self) -> Result<(), Gone> {
        if self.batch.events.is_empty() && self.batch.bad.total() == 0 {
            return Ok(());
        }
        let next = Self::nothing(&self.batch.origin);
        let batch = std::mem::replace(&mut self.batch, next);
        self.events += batch.events.len() as u64;
        (self.out)(batch)
    }

    fn finish(mut self, open: bool) -> Result<Result<(), Gone>, ReplayFault> {
        if let Err(Gone) = self.flush() {
            return Ok(Err(Gone));
        }
        let events = self.events;
        match self.first_bad {
            Some((line, why)) => Err(ReplayFault::NotAllEvents {
                bad: self.bad,
                line,
                why,
                events,
            }),
            None if open => Err(ReplayFault::Open { events }),
            None => Ok(Ok(())),
        }
    }
}
