//! What a request comes with besides its body.

use std::net::SocketAddr;

use crate::broker::shared::Shared;

/// Who asks.
#[derive(Debug)]
pub(in crate::broker) struct Client {
    /// Its address.
    pub(in crate::broker) peer: SocketAddr,
    /// Ours, as it reached us.
    pub(in crate::broker) local: SocketAddr,
}

/// What a request comes with besides its body.
pub(super) struct Context<'a> {
    pub(super) shared: &'a Shared,
    pub(super) client: &'a Client,
    pub(super) client_id: &'a str,
    pub(super) version: i16,
}
