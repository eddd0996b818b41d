//! How far a replay is, on a terminal: bytes read, of how many, and how long it still takes.

use std::io::{self, Read};

use indicatif::{ProgressBar, ProgressStyle};

use super::STDIN;

/// The bar of a whole replay.
#[derive(Clone, Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For these files; what is piped has no end that is known. Draws nothing where nobody looks.
    pub(super) fn of(inputs: &[String]) -> Self {
        let sizes: Option<u64> = inputs
            .iter()
            .map(|path| {
                let kind = (path != STDIN).then(|| std::fs::metadata(path).ok())??;
                kind.is_file().then_some(kind.len())
            })
            .sum();
        let style = |template| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        let bar = match sizes {
            Some(bytes) => ProgressBar::new(bytes).with_style(style(
                "{bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            )),
            None => ProgressBar::no_length().with_style(style("{spinner} {binary_bytes}, {binary_bytes_per_sec}")),
        };
        Self(bar)
    }

    /// One that nobody sees.
    pub(super) fn none() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Counts what is read.
    pub(super) fn count<R: Read>(&self, input: R) -> impl Read + use<R> {
        Counted {
            input,
            bar: self.0.clone(),
        }
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}

struct Counted<R> {
    input: R,
    bar: ProgressBar,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.bar.inc(read as u64);
        Ok(read)
    }
}
