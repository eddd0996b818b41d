//! The sink, off the event loop: its calls block on the disk, and heartbeats never wait for that.

use std::sync::Arc;

use parking_lot::Mutex;

use super::PipelineError;
use crate::sink::{Binding, Settings, Sink};

/// A sink whose calls run on threads that may block.
#[derive(Clone)]
pub(super) struct Writer {
    sink: Arc<Mutex<Sink>>,
}

impl Writer {
    /// Opens the output directory.
    pub(super) async fn open(settings: Settings, binding: Binding) -> Result<Self, PipelineError> {
        let sink = blocking(move || Sink::open(settings, binding)).await??;
        Ok(Self {
            sink: Arc::new(Mutex::new(sink)),
        })
    }

    /// Runs `work` on the sink. Once begun it runs to its end, also when this future is dropped.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Sink) -> T + Send + 'static,
    ) -> Result<T, PipelineError> {
        let sink = Arc::clone(&self.sink);
        blocking(move || work(&mut sink.lock())).await
    }

    /// Makes a member id durable. Blocks, as long as the disk does.
    pub(super) fn remember_member(&self, member_id: &str) -> std::io::Result<()> {
        self.sink
            .lock()
            .remember_member(member_id)
            .map_err(std::io::Error::other)
    }

    /// Notes what is known and gives the directory up.
    pub(super) async fn close(self) -> Result<(), PipelineError> {
        match Arc::try_unwrap(self.sink) {
            Ok(sink) => Ok(blocking(move || sink.into_inner().close()).await??),
            // Somebody still works with it; the next start finds out what this would have noted.
            Err(_) => Ok(()),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PipelineError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| PipelineError::Internal(error.to_string()))
}
