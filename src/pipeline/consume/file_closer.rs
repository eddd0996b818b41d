//! Ends, publishes and compresses files while rows go on being written.
//!
//! What takes long, compressing, runs beside the sink and not in it, one piece of work at a time: neither rows nor
//! heartbeats wait for it. A backlog of it is plain files on disk, not memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;

use super::super::error::PipelineError;
use super::super::stop::Stop;
use super::session::{Session, until};
use super::sink_thread::SinkThread;
use crate::sink::{Packed, Packing};

/// What a stop leaves for noting what was done: by then compressing has ended.
const MARGIN: Duration = Duration::from_millis(500);

type Work = JoinHandle<Packed>;

/// What is to be done with files, and when.
pub(in crate::pipeline) struct FileCloser {
    due: Option<Instant>,
    work: Option<Work>,
    quit: Arc<AtomicBool>,
    stop: Stop,
}

/// Why the sink is to be tended.
pub(in crate::pipeline) enum Woken {
    Due,
    Packed(Result<Packed, PipelineError>),
}

impl FileCloser {
    pub(in crate::pipeline) fn new(stop: &Stop) -> Self {
        Self {
            due: Some(Instant::now()),
            work: None,
            quit: Arc::default(),
            stop: stop.clone(),
        }
    }

    /// Files may have become closed: a batch counted.
    pub(in crate::pipeline) fn look(&mut self) {
        self.due = Some(Instant::now());
    }

    /// Waits until there is something to do. Nothing is lost when this is dropped.
    pub(in crate::pipeline) async fn wake(&mut self) -> Woken {
        let Some(work) = &mut self.work else {
            until(self.due).await;
            return Woken::Due;
        };
        tokio::select! {
            () = until(self.due) => Woken::Due,
            packed = work => {
                self.work = None;
                Woken::Packed(packed.map_err(|error| PipelineError::Internal(error.to_string())))
            }
        }
    }

    /// Begins to compress, unless that is being done.
    fn begin(&mut self, packing: Packing) {
        if self.work.is_none() {
            let (stop, quit) = (self.stop.clone(), Arc::clone(&self.quit));
            let over =
                move || quit.load(Ordering::Relaxed) || Instant::now() + MARGIN >= stop.deadline();
            self.work = Some(tokio::task::spawn_blocking(move || packing.run(over)));
        }
    }

    /// Ends all work, and waits for that.
    pub(in crate::pipeline) async fn quit(&mut self) {
        self.quit.store(true, Ordering::Relaxed);
        if let Some(work) = self.work.take() {
            let _ = work.await;
        }
    }

    /// Closes all files that are to be closed when the process ends, as far as there is time; the next start does the
    /// rest.
    pub(in crate::pipeline) async fn finish(
        &mut self,
        writer: &SinkThread,
    ) -> Result<(), PipelineError> {
        writer.with(|sink| sink.end_files()).await??;
        loop {
            if let Some(work) = self.work.take() {
                let packed = work
                    .await
                    .map_err(|error| PipelineError::Internal(error.to_string()))?;
                if packed.is_empty() {
                    return Ok(());
                }
                writer.with(move |sink| sink.packed(packed)).await??;
            }
            let tended = writer.with(|sink| sink.tend(Utc::now())).await??;
            match tended.packing {
                Some(packing) => self.begin(packing),
                None => return Ok(()),
            }
        }
    }
}

impl Session<'_> {
    /// Lets the sink end and close files.
    pub(in crate::pipeline) async fn tend(&mut self, woken: Woken) -> Result<(), PipelineError> {
        if let Woken::Packed(packed) = woken {
            let packed = packed?;
            self.writer.with(move |sink| sink.packed(packed)).await??;
        }
        if !self.assignment.recovered {
            // What is to be closed is known when it is known what counts.
            self.file_closer.due = None;
            return Ok(());
        }
        let tended = self.writer.with(|sink| sink.tend(Utc::now())).await??;
        self.file_closer.due = tended.next.map(instant);
        if let Some(packing) = tended.packing {
            self.file_closer.begin(packing);
        }
        if tended.flush {
            self.flush_timer.hurry(Instant::now());
        }
        Ok(())
    }
}

/// The instant of a time of the day; one that is past is now.
fn instant(at: DateTime<Utc>) -> Instant {
    let left = (at - Utc::now()).to_std().unwrap_or_default();
    // A clock that is set forwards is noticed within the minute.
    Instant::now() + left.min(Duration::from_secs(60))
}
