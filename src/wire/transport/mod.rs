//! The byte stream below one connection to a broker: TCP today, TLS in the same place later.
//!
//! Two things that rskafka's `Messenger` leaves open are done here. It writes a frame's length and body apart; held back
//! until the body comes, both leave in one write. And dropping a `Messenger` or a request does not close the stream, because
//! a request under way is rescued into a task of its own; so the stream has a switch, [`Switch::close`], after which
//! every read and write fails and nothing more reaches the broker.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[derive(Debug, Default)]
struct Shared {
    closed: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

/// Closes a transport from outside, and tells whether it is closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Switch(Arc<Shared>);

impl Switch {
    /// Fails every read and write from now on, also those that wait.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.reader.wake();
        self.0.writer.wake();
    }

    /// Whether the stream ended, failed or was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }
}

/// How long a frame's length field is.
const LENGTH_BYTES: usize = 4;

/// A TCP stream to a broker, with a [`Switch`].
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    switch: Switch,
    /// A frame's length, held back until its body comes.
    held: Option<[u8; LENGTH_BYTES]>,
    /// How much of `held` has left already.
    held_sent: usize,
}

impl Transport {
    pub(super) fn new(stream: TcpStream) -> (Self, Switch) {
        let switch = Switch::default();
        let transport = Self {
            stream,
            switch: switch.clone(),
            held: None,
            held_sent: 0,
        };
        (transport, switch)
    }

    fn check_open(&self) -> io::Result<()> {
        if self.switch.is_closed() {
            Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the connection was closed on this side",
            ))
        } else {
            Ok(())
        }
    }

    /// Notes that the stream is of no more use.
    fn settle<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.switch.close();
        }
        result
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.switch.0.reader.register(cx.waker());
        self.check_open()?;
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if result.is_ok() && buf.filled().len() == before && buf.remaining() > 0 {
            self.switch.close();
        }
        Poll::Ready(self.settle(result))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.switch.0.writer.register(cx.waker());
        self.check_open()?;
        let this = &mut *self;
        let Some(held) = this.held else {
            if let Ok(length) = buf.try_into() {
                this.held = Some(length);
                this.held_sent = 0;
                return Poll::Ready(Ok(LENGTH_BYTES));
            }
            let result = ready!(Pin::new(&mut this.stream).poll_write(cx, buf));
            return Poll::Ready(this.settle(result));
        };
        loop {
            let slices = [IoSlice::new(&held[this.held_sent..]), IoSlice::new(buf)];
            let result = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, &slices));
            match this.settle(result)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    let of_held = written.min(LENGTH_BYTES - this.held_sent);
                    this.held_sent += of_held;
                    if this.held_sent == LENGTH_BYTES {
                        this.held = None;
                        if written > of_held {
                            return Poll::Ready(Ok(written - of_held));
                        }
                        let result = ready!(Pin::new(&mut this.stream).poll_write(cx, buf));
                        return Poll::Ready(this.settle(result));
                    }
                }
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
