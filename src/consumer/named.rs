//! How a request names the topic: by its id where both sides know it (KIP-516), so that a topic that was made anew under
//! the name is not taken for the one that is meant. Pure.

use uuid::Uuid;

use crate::wire::messages::Str;

/// What stands in a request for the topic, and has to stand in its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Name(Str),
    Id(Uuid),
}

impl Named {
    /// By its id, if there is one and `has_ids` says that the broker takes it.
    pub(super) fn new(topic: &str, id: Option<Uuid>, has_ids: bool) -> Self {
        match id {
            Some(id) if has_ids => Self::Id(id),
            _ => Self::Name(topic.into()),
        }
    }

    /// The fields for name and id, of which a version of a request has one.
    pub(super) fn fields(&self) -> (Str, Uuid) {
        match self {
            Self::Name(name) => (name.clone(), Uuid::nil()),
            Self::Id(id) => (Str::default(), *id),
        }
    }

    /// Whether an answer with these fields is about this topic.
    pub(super) fn is(&self, name: &Str, id: Uuid) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Id(own) => *own == id,
        }
    }
}
