//! What all folders of the sink use: in which form a file is, and where it stands.

pub(crate) mod layout;

pub(crate) use layout::{Form, STATE_DIRECTORY};
