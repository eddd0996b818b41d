//! The sink, off the event loop: its calls block on the disk, and heartbeats never wait for that.

use std::sync::Arc;

use parking_lot::Mutex;

use super::super::error::PipelineError;
use crate::sink::{Binding, Settings, Sink};

/// What is said to who comes too late.
const GIVEN_UP: &str = "writing to the output directory has ended";

/// A sink whose calls run on threads that may block.
#[derive(Clone)]
pub(in crate::pipeline) struct SinkThread {
    /// `None` once the directory was given up.
    sink: Arc<Mutex<Option<Sink>>>,
}

impl SinkThread {
    /// Opens the output directory.
    pub(in crate::pipeline) async fn open(
        settings: Settings,
        binding: Binding,
    ) -> Result<Self, PipelineError> {
        let sink = blocking(move || Sink::open(settings, binding)).await??;
        Ok(Self {
            sink: Arc::new(Mutex::new(Some(sink))),
        })
    }

    /// Runs `work` on the sink. Once begun it runs to its end, also when this future is dropped.
    pub(in crate::pipeline) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Sink) -> T + Send + 'static,
    ) -> Result<T, PipelineError> {
        let sink = Arc::clone(&self.sink);
        let done = blocking(move || sink.lock().as_mut().map(work)).await?;
        done.ok_or_else(|| PipelineError::Internal(GIVEN_UP.to_owned()))
    }

    /// Makes a member id durable. Blocks, as long as the disk does.
    pub(in crate::pipeline) fn remember_member(&self, member_id: &str) -> std::io::Result<()> {
        match &mut *self.sink.lock() {
            Some(sink) => sink
                .remember_member(member_id)
                .map_err(std::io::Error::other),
            None => Err(std::io::Error::other(GIVEN_UP)),
        }
    }

    /// Notes what is known and gives the directory up, whoever else may still hold this: a task that is being ended does
    /// for a moment, and what is not noted then would have to be asked of commits that somebody may set meanwhile.
    pub(in crate::pipeline) async fn close(self) -> Result<(), PipelineError> {
        let close = move || self.sink.lock().take().map_or(Ok(()), Sink::close);
        Ok(blocking(close).await??)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PipelineError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| PipelineError::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{BadRecords, Column, Compression, FileDate, Publish, Roll};

    #[tokio::test]
    async fn the_directory_is_given_up_though_a_task_still_holds_the_writer() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = || {
            let binding = Binding {
                cluster_id: "c".to_owned(),
                topic: "t".to_owned(),
                topic_id: None,
                group: "g".to_owned(),
            };
            let settings = Settings {
                directory: directory.path().to_owned(),
                columns: Column::DEFAULT.to_vec(),
                file_date: FileDate::Event,
                instance: None,
                max_open_files: 1,
                bad_records: BadRecords::default(),
                roll: Roll::default(),
                publish: Publish::default(),
                compression: Compression::default(),
            };
            SinkThread::open(settings, binding)
        };
        let writer = open().await.expect("it opens");
        let assignment = writer.clone();
        writer.close().await.expect("it closes");
        assert!(assignment.with(|_| ()).await.is_err());
        assert!(assignment.remember_member("m").is_err());
        open().await.expect("it opens again");
    }
}
