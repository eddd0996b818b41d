//! Reads the files, in order, on a thread of its own (files and pipes block), and hands batches to a bounded channel.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use super::form::{Form, MAX_LOOK_BYTES, form};
use super::lines::{Line, next_line};
use super::progress::Progress;
use super::unpack::unpack;
use super::{ReplayFault, STDIN, Settings};
use crate::event::{NotATrade, TradeEvent};
use crate::source::alpha_vantage::body::{self, Ask, MAX_BODY_BYTES, Refusal};
use crate::source::alpha_vantage::count_bad_bars;
use crate::source::{BadCounts, BadReason, Batch, MAX_BATCH_EVENTS, SourceError};

/// Read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

pub(super) type Message = Result<Batch, SourceError>;

/// Nobody wants more.
pub(super) struct Gone;

/// Reads every input, until the end, or until nobody listens any more. What cannot be replayed is passed over, and said at
/// the end, too.
pub(super) fn read_all(settings: &Settings, out: &Sender<Message>) {
    let progress = Progress::of(&settings.inputs);
    let send = |batch| out.blocking_send(Ok(batch)).map_err(|_| Gone);
    let mut lost = Lost::of(&settings.inputs);
    for path in &settings.inputs {
        match read(path, settings, &progress, &send) {
            Ok(Ok(())) => {}
            Ok(Err(Gone)) => return progress.end(),
            Err(fault) => {
                let path = path.clone();
                lost.note(SourceError::Replay { path, fault });
            }
        }
    }
    progress.end();
    if let Some(error) = lost.error() {
        // Nobody listens: nobody has to know.
        let _ = out.blocking_send(Err(error));
    }
}

/// Files that could not be replayed, or not all of them.
pub(super) struct Lost {
    of: usize,
    lost: usize,
    last: Option<SourceError>,
}

impl Lost {
    /// None yet of these.
    pub(super) fn of(inputs: &[String]) -> Self {
        Self {
            of: inputs.len(),
            lost: 0,
            last: None,
        }
    }

    /// Passes a file over, loudly when others come behind it.
    pub(super) fn note(&mut self, error: SourceError) {
        self.lost += 1;
        if self.of > 1 {
            tracing::error!("{error}; the other files are replayed");
        }
        self.last = Some(error);
    }

    /// What is to be said at the end.
    pub(super) fn error(self) -> Option<SourceError> {
        let last = self.last?;
        Some(match self.of {
            1 => last,
            of => SourceError::NotReplayed {
                lost: self.lost,
                of,
            },
        })
    }
}

/// Whether it is open only when somebody writes into it.
#[cfg(unix)]
pub(super) fn is_pipe(path: &str) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|kind| kind.file_type().is_fifo())
}

/// Whether it is open only when somebody writes into it.
#[cfg(not(unix))]
pub(super) fn is_pipe(_: &str) -> bool {
    false
}

/// Reads one input to its end, or until `out` wants no more; counts the bytes in `progress`.
pub(super) fn read(
    path: &str,
    settings: &Settings,
    progress: &Progress,
    out: &dyn Fn(Batch) -> Result<(), Gone>,
) -> Result<Result<(), Gone>, ReplayFault> {
    let reader = Reader {
        path,
        settings,
        out,
        progress,
    };
    reader.read()
}

struct Reader<'a> {
    path: &'a str,
    settings: &'a Settings,
    out: &'a dyn Fn(Batch) -> Result<(), Gone>,
    progress: &'a Progress,
}

impl Reader<'_> {
    fn read(&self) -> Result<Result<(), Gone>, ReplayFault> {
        let input: Box<dyn Read> = if self.path == STDIN {
            Box::new(io::stdin())
        } else {
            if is_pipe(self.path) {
                tracing::info!(
                    path = self.path,
                    "it is a pipe: waiting for whoever writes into it"
                );
            }
            Box::new(File::open(self.path)?)
        };
        let mut input = unpack(self.progress.count(input))?;
        let mut start = Vec::new();
        let form = loop {
            let before = start.len();
            let room = (MAX_LOOK_BYTES - before.min(MAX_LOOK_BYTES)).max(1024);
            start.resize(before + room, 0);
            let read = match input.read(start.get_mut(before..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    start.truncate(before);
                    continue;
                }
                read => read?,
            };
            start.truncate(before + read);
            let last = read == 0 || start.len() > 2 * MAX_LOOK_BYTES;
            if let Some(form) = form(&start, last) {
                break form;
            }
        };
        let input = io::Cursor::new(start).chain(input);
        match form {
            Form::Empty => {
                tracing::warn!(path = self.path, "there is nothing in it to replay");
                Ok(Ok(()))
            }
            Form::Body => self.body(input),
            Form::Events => self.events(BufReader::with_capacity(BUFFER_BYTES, input)),
        }
    }

    fn body(&self, input: impl Read) -> Result<Result<(), Gone>, ReplayFault> {
        let mut bytes = Vec::new();
        input
            .take(MAX_BODY_BYTES as u64 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() > MAX_BODY_BYTES {
            return Err(ReplayFault::TooLarge);
        }
        // JSON bodies name their symbol, and that is the one that counts.
        let csv = bytes.trim_ascii_start().first() != Some(&b'{');
        let symbols = self.settings.symbols.as_slice();
        let ask = Ask {
            symbols: if csv { symbols } else { &[] },
            interval: self.settings.interval,
            now: None,
            delayed: false,
            key: None,
        };
        let bars = body::parse(&mut bytes, &ask).map_err(|refusal| match refusal {
            Refusal::Notice(notice) => ReplayFault::Notice(notice),
            Refusal::Unusable(why) => ReplayFault::Unusable(why),
            Refusal::SymbolMissing => ReplayFault::SymbolMissing,
        })?;
        if csv && symbols.len() > 1 {
            return Err(ReplayFault::SymbolAmbiguous(symbols.len()));
        }
        if let Some(event) = bars.events.first()
            && !symbols.is_empty()
            && !symbols.contains(&event.symbol)
        {
            tracing::warn!(
                path = self.path,
                "the body says that it is of {}, which is none of those that are given ({}): its events are of {}",
                event.symbol,
                symbols.join(", "),
                event.symbol
            );
        }
        let bad = count_bad_bars(self.path, &bars.bad);
        let origin: Arc<str> = bars.series.origin().into();
        let whole = bars.events.len();
        for batch in Batch::split(bars.events, &origin, bad) {
            if (self.out)(batch).is_err() {
                return Ok(Err(Gone));
            }
        }
        match bars.broken {
            Some(why) => Err(ReplayFault::Broken { why, bars: whole }),
            None => Ok(Ok(())),
        }
    }

    fn events(&self, mut input: BufReader<impl Read>) -> Result<Result<(), Gone>, ReplayFault> {
        if input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            input.consume(3);
        }
        let origin: Arc<str> = "replay".into();
        let mut batch = Batch {
            events: Vec::new(),
            origin: Arc::clone(&origin),
            bad: BadCounts::default(),
            more: false,
        };
        let mut problems: HashSet<Option<Discriminant<NotATrade>>> = HashSet::new();
        let (mut line, mut number) = (Vec::new(), 0_u64);
        loop {
            number += 1;
            match next_line(&mut input, &mut line)? {
                Line::End => break,
                Line::TooLong => {
                    batch.bad.add(BadReason::TooLong);
                    if problems.insert(None) {
                        tracing::warn!(
                            path = self.path,
                            line = number,
                            "a line is too long for an event and skipped; others like it are only counted"
                        );
                    }
                }
                Line::Whole if line.trim_ascii().is_empty() => {}
                Line::Whole => match TradeEvent::from_json(line.trim_ascii(), number) {
                    Ok(event) => batch.events.push(event),
                    Err(problem) => {
                        batch.bad.add(BadReason::NotATrade);
                        if problems.insert(Some(discriminant(&problem))) {
                            tracing::warn!(
                                path = self.path,
                                line = number,
                                "a line is skipped: {problem}; others like it are only counted"
                            );
                        }
                    }
                },
            }
            // A pipe that pauses must not hold back what came through it.
            if batch.events.len() >= MAX_BATCH_EVENTS
                || (input.buffer().is_empty() && !batch.events.is_empty())
            {
                let next = Batch {
                    events: Vec::new(),
                    origin: Arc::clone(&origin),
                    bad: BadCounts::default(),
                    more: false,
                };
                if (self.out)(std::mem::replace(&mut batch, next)).is_err() {
                    return Ok(Err(Gone));
                }
            }
        }
        if !batch.events.is_empty() || batch.bad.total() > 0 {
            return Ok((self.out)(batch));
        }
        Ok(Ok(()))
    }
}
