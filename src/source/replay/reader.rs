//! Reads the files, in order, on a thread of its own (files and pipes block), and hands batches to a bounded channel.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use super::super::bars::{self, Ask, Bars, MAX_BODY_BYTES, Refusal, Said, Untold};
use super::events::{replay_objects, replay_rows};
use super::form::{Form, MAX_LOOK_BYTES, form};
use super::inputs::PACKED;
use super::progress::Progress;
use super::unpack::unpack;
use super::{ReplayFault, STDIN, Settings};
use crate::source::alpha_vantage::count_bad_bars;
use crate::source::{Batch, SourceError};

/// Read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) type Message = Result<Batch, SourceError>;

/// Nobody wants more.
pub(super) struct Gone;

/// Reads every input, until the end, or until nobody listens any more. What cannot be replayed is passed over, and said at
/// the end, too.
pub(super) fn read_all(settings: &Settings, mut lost: Lost, out: &Sender<Message>) {
    let progress = Progress::of(&settings.inputs);
    let send = |batch| out.blocking_send(Ok(batch)).map_err(|_| Gone);
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
#[derive(Debug)]
pub(super) struct Lost {
    of: usize,
    lost: usize,
    last: Option<SourceError>,
}

impl Lost {
    /// None yet of so many.
    pub(super) fn of(files: usize) -> Self {
        Self {
            of: files,
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
        let (mut input, packed) = unpack(self.progress.count(input))?;
        let (form, start, line) = look(&mut input)?;
        let input = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(input));
        match form {
            Form::Empty if !packed && is_packed_by_name(self.path) => Err(ReplayFault::Foreign(
                "it is empty, so it is not a compressed file",
            )),
            Form::Empty => {
                tracing::warn!(path = self.path, "there is nothing in it to replay");
                Ok(Ok(()))
            }
            Form::Foreign(what) => Err(ReplayFault::Foreign(what)),
            Form::ColumnTwice(column) => Err(ReplayFault::ColumnTwice(column)),
            Form::Body => self.body(input),
            Form::Events => replay_objects(self.path, input, line, self.out),
            Form::Rows(header) => replay_rows(self.path, &header, input, line, self.out),
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
            bars: Untold::Saved(Said {
                interval: self.settings.interval,
                daily: self.settings.daily,
            }),
            adjusted: self.settings.adjusted,
            now: None,
            delayed: false,
            key: None,
        };
        let bars = bars::parse(&mut bytes, &ask).map_err(|refusal| match refusal {
            Refusal::Notice(notice) => ReplayFault::Notice(notice),
            Refusal::Unusable(why) => ReplayFault::Unusable(why),
            Refusal::SeriesUnknown(why) => ReplayFault::SeriesUnknown(why),
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
                "the body says that its symbol is {}, which is not one of those given ({}); its events are published as {}",
                event.symbol,
                symbols.join(", "),
                event.symbol
            );
        }
        let bad = count_bad_bars(self.path, &bars.bad);
        let fault = lost_bars(&bars);
        let origin: Arc<str> = bars.series.origin().into();
        let whole = bars.events.len();
        for batch in Batch::split(bars.events, &origin, bad) {
            if (self.out)(batch).is_err() {
                return Ok(Err(Gone));
            }
        }
        match (bars.broken, fault) {
            (Some(why), _) => Err(ReplayFault::Broken { why, bars: whole }),
            (None, Some(fault)) => Err(fault),
            (None, None) => Ok(Ok(())),
        }
    }
}

/// Whether most of a body is lost, or all of it.
fn lost_bars(bars: &Bars) -> Option<ReplayFault> {
    let (good, bad) = (bars.events.len(), bars.bad.len());
    match bars.bad.first() {
        None => (good == 0).then_some(ReplayFault::NoBars),
        Some(first) => (bad > good).then(|| ReplayFault::MostlyBad {
            good,
            bad,
            start: first.start.to_string(),
            reason: first.reason.words(),
        }),
    }
}

/// What the input holds, its first bytes without the blanks before them, and the line on which these begin.
fn look(input: &mut impl Read) -> io::Result<(Form, Vec<u8>, u64)> {
    let (mut start, mut line, mut at_begin) = (Vec::new(), 1, true);
    loop {
        let before = start.len();
        let room = MAX_LOOK_BYTES.saturating_sub(before).max(1024);
        start.resize(before + room, 0);
        let read = match input.read(start.get_mut(before..).unwrap_or_default()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                start.truncate(before);
                continue;
            }
            read => read?,
        };
        start.truncate(before + read);
        let last = read == 0;
        if at_begin {
            if !last && start.len() < 3 && BYTE_ORDER_MARK.starts_with(&start) {
                continue;
            }
            if start.starts_with(BYTE_ORDER_MARK) {
                start.drain(..BYTE_ORDER_MARK.len());
            }
            at_begin = false;
        }
        let blanks = start.len() - start.trim_ascii_start().len();
        line += memchr::memchr_iter(b'\n', start.get(..blanks).unwrap_or_default()).count() as u64;
        start.drain(..blanks);
        if let Some(form) = form(&start, last) {
            return Ok((form, start, line));
        }
    }
}

/// Whether the name says that it is compressed.
fn is_packed_by_name(path: &str) -> bool {
    let extension = std::path::Path::new(path).extension();
    extension.is_some_and(|extension| {
        PACKED
            .iter()
            .any(|packed| extension.eq_ignore_ascii_case(packed))
    })
}
