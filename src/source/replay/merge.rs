//! Several files, replayed by the events' own times: event by event, the earliest of all files is next.
//!
//! Within a file the order stays as it is (a saved body gives its bars oldest first): an event that is older than one before
//! it counts as being of that one's time. Of the same time, the file that was named first goes first. Each file is looked
//! into once for its first event, and opened when its turn comes, so that a directory with a file a day has one or two
//! open at a time; files that overlap are open together, saved bodies with all of their bars in memory. What is piped is
//! open from the start, and its next event is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::vec::IntoIter;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::Sender;
use tracing::subscriber::{NoSubscriber, with_default};

use super::progress::Progress;
use super::reader::{Gone, Lost, Message, is_pipe, read};
use super::{STDIN, Settings};
use crate::event::TradeEvent;
use crate::source::{BadCounts, Batch, MAX_BATCH_EVENTS, SourceError};

/// Reads all inputs as one, until the end, an error, or until nobody listens any more.
pub(super) fn merge_all(settings: &Settings, lost: Lost, out: &Sender<Message>) {
    let progress = Progress::of(&settings.inputs);
    let settings = Arc::new(settings.clone());
    let mut gathered = Gathered::new(out, lost);
    let outcome = merge(&settings, &progress, &mut gathered);
    progress.end();
    let outcome = match outcome {
        Ok(()) => gathered.flush(),
        Err(end) => gathered.flush().and(Err(end)),
    };
    let error = match outcome {
        Ok(()) => gathered.lost.error(),
        Err(End::Gone) => None,
        Err(End::Failed(error)) => Some(error),
    };
    if let Some(error) = error {
        // Nobody listens: nobody has to know.
        let _ = out.blocking_send(Err(error));
    }
}

/// Why the reading ends early.
enum End {
    Gone,
    Failed(SourceError),
}

fn merge(
    settings: &Arc<Settings>,
    progress: &Progress,
    gathered: &mut Gathered<'_>,
) -> Result<(), End> {
    // Latest first, so that the next one is at the end.
    let mut closed: Vec<(DateTime<Utc>, usize)> = Vec::new();
    for (place, path) in settings.inputs.iter().enumerate() {
        closed.push((first_time(path, settings), place));
    }
    closed.sort_unstable();
    closed.reverse();
    let mut open: BTreeMap<(DateTime<Utc>, usize), Opened> = BTreeMap::new();
    loop {
        while let Some((first, place)) = closed.last().copied()
            && open
                .first_key_value()
                .is_none_or(|((next, _), _)| first <= *next)
        {
            closed.pop();
            let mut file = Opened::new(settings, place, progress)?;
            if file.fill(gathered)? {
                open.insert((file.time, place), file);
            }
        }
        let Some(((_, place), mut file)) = open.pop_first() else {
            return Ok(());
        };
        // It goes on as long as no other one is before it.
        let others = open.first_key_value().map(|(next, _)| *next);
        let next = others.into_iter().chain(closed.last().copied()).min();
        let mut goes_on = true;
        while goes_on && next.is_none_or(|next| (file.time, place) <= next) {
            if let Some(event) = file.events.next() {
                gathered.add(event, &file.origin)?;
            }
            goes_on = file.fill(gathered)?;
        }
        if goes_on {
            open.insert((file.time, place), file);
        }
    }
}

/// When the first event of a file was; the beginning of time where there is none, and for what can be read only once.
fn first_time(path: &str, settings: &Settings) -> DateTime<Utc> {
    if path == STDIN || is_pipe(path) {
        return DateTime::<Utc>::MIN_UTC;
    }
    let first = std::cell::Cell::new(None);
    let look = |batch: Batch| match batch.events.first() {
        Some(event) => {
            first.set(Some(event.timestamp.instant));
            Err(Gone)
        }
        None => Ok(()),
    };
    // What is to be said of it is said when it is replayed.
    let _ = with_default(NoSubscriber::default(), || {
        read(path, settings, &Progress::none(), &look)
    });
    first.get().unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// A file that is being read, on a thread of its own.
struct Opened {
    batches: Receiver<Message>,
    /// What is left of the latest batch.
    events: IntoIter<TradeEvent>,
    origin: Arc<str>,
    /// The latest time so far, the next event's included.
    time: DateTime<Utc>,
}

impl Opened {
    fn new(settings: &Arc<Settings>, place: usize, progress: &Progress) -> Result<Self, End> {
        let path = settings.inputs.get(place).cloned().unwrap_or_default();
        // One that is ready while the one before is handed on.
        let (sender, batches) = sync_channel(1);
        let (settings, progress, of) = (Arc::clone(settings), progress.clone(), path.clone());
        std::thread::Builder::new()
            .name("replay".to_owned())
            .spawn(move || read_one(&of, &settings, &progress, &sender))
            .map_err(|error| {
                End::Failed(SourceError::Replay {
                    path,
                    fault: error.into(),
                })
            })?;
        Ok(Self {
            batches,
            events: Vec::new().into_iter(),
            origin: "".into(),
            time: DateTime::<Utc>::MIN_UTC,
        })
    }

    /// Sees to it that there is a next event; `false` at the end.
    fn fill(&mut self, gathered: &mut Gathered<'_>) -> Result<bool, End> {
        while self.events.len() == 0 {
            let message = match self.batches.try_recv() {
                Err(TryRecvError::Empty) => {
                    // A pipe that pauses must not hold back what came before.
                    gathered.flush()?;
                    self.batches.recv().ok()
                }
                message => message.ok(),
            };
            let Some(message) = message else {
                return Ok(false);
            };
            let batch = match message {
                Ok(batch) => batch,
                Err(error) => {
                    gathered.lost.note(error);
                    return Ok(false);
                }
            };
            gathered.count(&batch.bad);
            self.events = batch.events.into_iter();
            self.origin = batch.origin;
        }
        if let Some(event) = self.events.as_slice().first() {
            self.time = self.time.max(event.timestamp.instant);
        }
        Ok(true)
    }
}

fn read_one(path: &str, settings: &Settings, progress: &Progress, out: &SyncSender<Message>) {
    let send = |batch| out.send(Ok(batch)).map_err(|_| Gone);
    if let Err(fault) = read(path, settings, progress, &send) {
        let path = path.to_owned();
        // Nobody listens: nobody has to know.
        let _ = out.send(Err(SourceError::Replay { path, fault }));
    }
}

/// Events of one origin on their way to become a batch.
struct Gathered<'a> {
    out: &'a Sender<Message>,
    batch: Batch,
    lost: Lost,
}

impl<'a> Gathered<'a> {
    fn new(out: &'a Sender<Message>, lost: Lost) -> Self {
        Self {
            out,
            lost,
            batch: nothing("".into()),
        }
    }

    fn add(&mut self, event: TradeEvent, origin: &Arc<str>) -> Result<(), End> {
        if self.batch.events.len() >= MAX_BATCH_EVENTS || self.batch.origin != *origin {
            self.flush()?;
            self.batch.origin = Arc::clone(origin);
        }
        self.batch.events.push(event);
        Ok(())
    }

    fn count(&mut self, bad: &BadCounts) {
        self.batch.bad.extend(bad);
    }

    fn flush(&mut self) -> Result<(), End> {
        if self.batch.events.is_empty() && self.batch.bad.total() == 0 {
            return Ok(());
        }
        let next = nothing(Arc::clone(&self.batch.origin));
        let batch = std::mem::replace(&mut self.batch, next);
        self.out.blocking_send(Ok(batch)).map_err(|_| End::Gone)
    }
}

fn nothing(origin: Arc<str>) -> Batch {
    Batch {
        events: Vec::new(),
        origin,
        bad: BadCounts::default(),
        more: false,
    }
}
