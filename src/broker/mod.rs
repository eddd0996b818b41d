//! The embedded Kafka broker: memory only, for `stockflow demo`, `stockflow broker` and the tests.
//!
//! It speaks the message table of [`crate::wire`] from the other side, to any client: our own, kcat, Kafka's own tools. One
//! broker is the whole cluster: it leads every partition, coordinates every group, and has no replicas, transactions,
//! access control or settings of topics. Cluster and topic ids are new at each start, so that nothing mistakes a new one for
//! an old one.
//!
//! ```text
//!  server        accepts connections; one task each, its requests one after the other
//!    └── api     one function an API: reads the request, asks the state, writes the response
//!          ├── topics ── log          record batches as they came; the oldest go first when memory is used up
//!          │      └───── producers    idempotence: the last five batches of each producer
//!          └── coordinator ── group   classic group membership as a state machine
//!                     └────── offsets what groups have committed
//! ```
//!
//! `topics` and what is below it, `group` and `offsets` are pure. Long polls and waiting members hold up their own connection
//! only. Memory is bounded by [`Settings::max_bytes`] for record batches, and by named constants for all else.

mod api;
mod coordinator;
mod group;
mod log;
mod offsets;
mod producers;
mod server;
mod shared;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod topics;

use log::LEADER_EPOCH;
use shared::Shared;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    num::NonZeroU16,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::Notify};
use uuid::Uuid;

use self::{coordinator::Coordinator, topics::Topics};
#[cfg(test)]
pub(crate) use testing::Logs;

/// The id of the only broker.
const NODE_ID: i32 = 1;

/// What a [`Broker`] has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST:PORT` to listen on; port 0 is any free one.
    pub listen: String,
    /// `HOST:PORT` that clients are told to connect to; where there is none, the address at which each came in.
    pub advertise: Option<String>,
    /// How many partitions a topic gets that is made on first use, or without saying how many; 1 or more.
    pub partitions: i32,
    /// How many bytes the record batches of all topics may take together; beyond that the oldest are forgotten.
    pub max_bytes: usize,
    /// The shortest session timeout that a group member may ask for (`group.min.session.timeout.ms`).
    pub min_session_timeout: Duration,
}

impl Default for Settings {
    /// `127.0.0.1:9092`, three partitions, 256 MiB, and Kafka's shortest session timeout, 6 s.
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9092".to_owned(),
            advertise: None,
            partitions: 3,
            max_bytes: 256 << 20,
            min_session_timeout: Duration::from_secs(6),
        }
    }
}

/// Why a broker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address cannot be listened on.
    #[error(
        "the embedded broker cannot listen on {address}: {source}; choose another HOST:PORT (port 0 is any free one)"
    )]
    Listen {
        /// The address, as it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The advertised address is not `HOST:PORT`.
    #[error("cannot advertise {address}: it has to be HOST:PORT, as clients are to connect to it")]
    Advertise {
        /// The address, as it was given.
        address: String,
    },
    /// The number of partitions is not positive.
    #[error("{partitions} is not a number of partitions: a topic has 1 or more")]
    Partitions {
        /// The number, as it was given.
        partitions: i32,
    },
}

/// An embedded broker that listens; it answers while [`Broker::run`] is polled.
#[derive(Debug)]
pub struct Broker {
    listener: TcpListener,
    local_addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Broker {
    /// Begins to listen. Connections wait until [`Broker::run`].
    ///
    /// # Errors
    /// When the address cannot be listened on, or a setting makes no sense.
    pub async fn bind(settings: Settings) -> Result<Self, BrokerError> {
        let advertise = settings.advertise.map(parse_host_port).transpose()?;
        if settings.partitions < 1 {
            return Err(BrokerError::Partitions {
                partitions: settings.partitions,
            });
        }
        let cannot_listen = |source| BrokerError::Listen {
            address: settings.listen.clone(),
            source,
        };
        let listener = TcpListener::bind(&settings.listen)
            .await
            .map_err(cannot_listen)?;
        let local_addr = listener.local_addr().map_err(cannot_listen)?;
        // A producer from before a restart must not meet a new one with its id.
        let (random, _) = Uuid::new_v4().as_u64_pair();
        let next_producer_id = i64::from(random as u32) << 16;
        Ok(Self {
            listener,
            local_addr,
            shared: Arc::new(Shared {
                cluster_id: Uuid::new_v4().simple().to_string(),
                advertise,
                default_partitions: settings.partitions,
                min_session_timeout: settings.min_session_timeout,
                topics: Mutex::new(Topics::new(settings.max_bytes)),
                appended: Notify::new(),
                coordinator: Coordinator::default(),
                next_producer_id: AtomicI64::new(next_producer_id),
            }),
        })
    }

    /// Where it listens, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The cluster's id, which is new at each start.
    pub fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    /// Serves until `shutdown` is ready; then all connections are closed and everything is forgotten.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        server::serve(self.listener, self.shared, shutdown).await;
    }
}

/// Splits `HOST:PORT`; an IPv6 address stands in brackets.
fn parse_host_port(address: String) -> Result<(String, u16), BrokerError> {
    let parsed = address.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse::<NonZeroU16>().ok()?;
        let host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']')?,
            None => Some(host).filter(|host| !host.contains(':'))?,
        };
        (!host.is_empty()).then(|| (host.to_owned(), port.get()))
    });
    parsed.ok_or(BrokerError::Advertise { address })
}
