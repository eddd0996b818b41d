//! The log, on standard error: lines for people (in colour on a terminal, unless `NO_COLOR` is set) or JSON.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Level, LogFormat, Logging};

/// Standard error, a line of the log at a time. On a terminal a progress bar may stand on the line where the next one
/// begins: it is wiped away, and drawn again behind.
///
/// A line that cannot be written is dropped: a full disk, or a reader of the log that has gone, ends nothing.
struct Lines {
    terminal: bool,
}

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        let wiped = match self.terminal {
            true => stderr.write_all(b"\r\x1b[2K"),
            false => Ok(()),
        };
        let _ = wiped.and_then(|()| stderr.write_all(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

/// Starts the log. Call it once; a later call changes nothing.
pub(super) fn init(logging: &Logging) {
    let level = match logging.level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
        Level::Off => LevelFilter::OFF,
    };
    let colour = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let terminal = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_writer(move || Lines { terminal })
        .with_max_level(level)
        .with_ansi(colour);
    let filter = Targets::new()
        .with_default(level)
        .with_target("rskafka", of_libraries(level));
    // A second call finds the log of the first, which stays.
    let _ = match logging.format {
        LogFormat::Text => log.with_target(false).finish().with(filter).try_init(),
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .finish()
            .with(filter)
            .try_init(),
    };
}

/// What a library warns of, frame by frame, comes back as an error that says it once and in our words.
fn of_libraries(level: LevelFilter) -> LevelFilter {
    if level > LevelFilter::INFO {
        level
    } else {
        level.min(LevelFilter::ERROR)
    }
}
