//! A dead letter on its way to its topic: what it holds, what of it can be left out, and why it was not taken.

use crate::{
    consumer::ConsumeError,
    producer::{DeliveryError, SendError},
    wire::{cluster::ClusterError, error::ErrorCode},
};

/// Why dead letters cannot be kept on their topic.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(
        "partition {partition}, offset {offset}: its dead letter cannot be sent to Output.DeadLetterTopic: {source}; its offset is not committed, and the next start sends it again"
    )]
    Send {
        partition: i32,
        offset: i64,
        source: SendError,
    },
    #[error(
        "partition {partition}, offset {offset}: its dead letter was not taken by Output.DeadLetterTopic: {source}; its offset is not committed, and the next start sends it again"
    )]
    Delivery {
        partition: i32,
        offset: i64,
        source: DeliveryError,
    },
    #[error("cannot read Output.DeadLetterTopic to find which dead letters were sent already: {0}")]
    LookUp(ConsumeError),
    #[error(
        "Output.DeadLetterTopic: {0}; their offsets are not committed, and the next start sends them again"
    )]
    Again(ClusterError),
}

/// A letter as it is sent.
pub(super) struct Letter {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// How many of the headers are the record's own; they stand in front.
    pub(super) own_headers: usize,
    /// What was left out, and why.
    pub(super) note: Option<String>,
}

impl Letter {
    pub(super) fn size(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len());
        len(&self.key) + len(&self.value) + headers.sum::<usize>()
    }

    /// Leaves out what makes it large, and notes that; false when there is nothing left to leave out.
    pub(super) fn shorten(&mut self, failure: &Failure) -> bool {
        let what = if let Some(value) = self.value.take() {
            format!("the value of {} bytes is", value.len())
        } else if self.key.is_some() || self.own_headers > 0 {
            self.key = None;
            self.headers.drain(..self.own_headers);
            self.own_headers = 0;
            "key, value and headers are".to_owned()
        } else {
            return false;
        };
        let why = match failure {
            Failure::Send(_) => "it is larger than Kafka.QueueBufferingMaxKbytes allows",
            Failure::Delivery(_) => "it is larger than the topic allows (max.message.bytes)",
        };
        let note = format!("{what} left out: {why}");
        tracing::warn!(
            partition = self.partition,
            offset = self.offset,
            "a dead letter is too large for Output.DeadLetterTopic: {note}"
        );
        self.note = Some(note);
        true
    }
}

/// Why a letter was not taken.
pub(super) enum Failure {
    Send(SendError),
    Delivery(DeliveryError),
}

impl Failure {
    /// Whether the letter is too large, for the topic or for what the producer may buffer.
    pub(super) fn is_size(&self) -> bool {
        match self {
            Self::Send(error) => matches!(error, SendError::TooLong { .. }),
            Self::Delivery(error) => matches!(
                error,
                DeliveryError::Refused {
                    code: ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE,
                    ..
                }
            ),
        }
    }

    /// Whether it is only that another letter was refused, and ended the producer.
    pub(super) fn is_anothers(&self) -> bool {
        match self {
            Self::Send(error) => matches!(error, SendError::GaveUp { .. }),
            Self::Delivery(error) => matches!(error, DeliveryError::Stopped { .. }),
        }
    }

    /// Whether the letter may be on the topic all the same.
    pub(super) fn possibly_written(&self) -> bool {
        match self {
            Self::Send(_) => false,
            Self::Delivery(error) => error.possibly_written(),
        }
    }

    pub(super) fn of(self, letter: &Letter) -> Trouble {
        let (partition, offset) = (letter.partition, letter.offset);
        match self {
            Self::Send(source) => Trouble::Send {
                partition,
                offset,
                source,
            },
            Self::Delivery(source) => Trouble::Delivery {
                partition,
                offset,
                source,
            },
        }
    }
}
