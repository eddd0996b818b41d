//! Accepts connections and serves each in a task of its own, one request after the other, as Kafka does: the answers of a
//! connection come in the order of its requests, and one that waits holds up nobody else.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    Shared,
    api::{self, Client},
};

/// The most connections at a time. A client has a handful, so this is hundreds of clients.
const MAX_CONNECTIONS: usize = 1_000;

/// The longest request, in bytes: dozens of the largest batches in one.
const MAX_REQUEST_BYTES: usize = 32 << 20;

/// How much of a request is made room for before its bytes have come.
const INITIAL_BUFFER_BYTES: usize = 64 << 10;

/// The pause after a connection could not be accepted, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is ready.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    let timekeeper = Arc::clone(&shared);
    connections.spawn(async move { timekeeper.coordinator.keep_time().await });
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                // The timekeeper is one of the tasks.
                Ok((_, peer)) if connections.len() > MAX_CONNECTIONS => {
                    tracing::warn!(%peer, MAX_CONNECTIONS, "too many connections: closed");
                }
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    tracing::debug!(%peer, "connected");
    match requests(stream, peer, &shared).await {
        Ok(()) => tracing::debug!(%peer, "disconnected"),
        Err(Closed::Lost(error)) => tracing::debug!(%peer, %error, "lost"),
        Err(Closed::TooLong(length)) => {
            tracing::warn!(%peer, length, MAX_REQUEST_BYTES, "not a request of a length that is served: closed");
        }
        Err(Closed::Refused(refused)) => tracing::warn!(%peer, %refused, "closed"),
    }
}

/// Why a connection ended otherwise than by the client's wish.
#[derive(Debug)]
enum Closed {
    Lost(io::Error),
    TooLong(i32),
    Refused(api::Refused),
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

async fn requests(mut stream: TcpStream, peer: SocketAddr, shared: &Shared) -> Result<(), Closed> {
    // An answer is one write; waiting for more would only delay it.
    stream.set_nodelay(true)?;
    let client = Client {
        peer,
        local: stream.local_addr()?,
    };
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    while let Some(frame) = read_frame(&mut reader).await? {
        let response = api::answer(shared, &client, frame)
            .await
            .map_err(Closed::Refused)?;
        if let Some(response) = response {
            writer.write_all(&response).await?;
        }
    }
    Ok(())
}

/// The next request without its length; `None` when the client is done.
async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<Bytes>, Closed> {
    let mut length = [0; size_of::<i32>()];
    match reader.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let said = i32::from_be_bytes(length);
    let length = usize::try_from(said)
        .ok()
        .filter(|length| *length <= MAX_REQUEST_BYTES)
        .ok_or(Closed::TooLong(said))?;
    // Memory grows with what really comes.
    let mut frame = Vec::with_capacity(length.min(INITIAL_BUFFER_BYTES));
    let read = reader.take(length as u64).read_to_end(&mut frame).await?;
    if read < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(frame.into()))
}
