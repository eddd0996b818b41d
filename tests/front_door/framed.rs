//! A proxy that knows Kafka's frames: it stands in one broker's place, and what that answers can be changed or held up on its way.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const API_VERSIONS: i16 = 18;

/// Forwards connections to one broker, whose address it takes the place of.
#[derive(Debug)]
pub(crate) struct Framed {
    pub(crate) address: SocketAddr,
}

impl Framed {
    /// Listens on `from` (port 0: any). `edit` gets each answer, with the API that it is of.
    pub(crate) fn start(
        from: &str,
        broker: &str,
        edit: impl Fn(i16, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(from).expect("a port for the proxy");
        let address = listener.local_addr().expect("its address");
        let (broker, edit) = (broker.to_owned(), Arc::new(edit));
        thread::spawn(move || {
            // It is left behind when the test ends, with a connection or two that are closed.
            for client in listener.incoming().flatten() {
                if let Ok(server) = TcpStream::connect(&broker) {
                    forward(client, server, &broker, address, &edit);
                }
            }
        });
        Self { address }
    }
}

fn forward<E: Fn(i16, &mut Vec<u8>) + Send + Sync + 'static>(
    client: TcpStream,
    server: TcpStream,
    broker: &str,
    own: SocketAddr,
    edit: &Arc<E>,
) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let asked: Arc<Mutex<HashMap<[u8; 4], i16>>> = Arc::default();
    let (mut from, mut to) = (
        client.try_clone().expect("it"),
        server.try_clone().expect("it"),
    );
    let requests = Arc::clone(&asked);
    thread::spawn(move || {
        while let Some(frame) = frame(&mut from) {
            let (Some(&[k0, k1]), Some(correlation)) = (
                frame.first_chunk(),
                frame.get(4..).and_then(<[u8]>::first_chunk),
            ) else {
                break;
            };
            let mut requests = requests.lock().expect("no panic");
            requests.insert(*correlation, i16::from_be_bytes([k0, k1]));
            drop(requests);
            if send(&mut to, &frame).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (server, client);
    let broker: SocketAddr = broker.parse().expect("an address with a port");
    let edit = Arc::clone(edit);
    thread::spawn(move || {
        while let Some(mut frame) = frame(&mut from) {
            let api = frame
                .first_chunk::<4>()
                .and_then(|correlation| asked.lock().expect("no panic").remove(correlation));
            if matches!(api, Some(METADATA | FIND_COORDINATOR)) {
                stand_in(&mut frame, broker, own);
            }
            if let Some(api) = api {
                edit(api, &mut frame);
            }
            if send(&mut to, &frame).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn send(to: &mut TcpStream, frame: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(frame.len()).expect("a frame");
    to.write_all(&[&length.to_be_bytes()[..], frame].concat())
}

/// The broker's own address, wherever it stands, becomes the proxy's.
fn stand_in(frame: &mut [u8], broker: SocketAddr, own: SocketAddr) {
    for host in [broker.ip().to_string(), "localhost".to_owned()] {
        let place = |port: u16| [host.as_bytes(), &u32::from(port).to_be_bytes()].concat();
        let (there, here) = (place(broker.port()), place(own.port()));
        let found: Vec<_> = memchr::memmem::find_iter(frame, &there).collect();
        for at in found {
            frame[at..at + here.len()].copy_from_slice(&here);
        }
    }
}

/// Lets a broker seem to have no later version of an API than this, where the answer is one of ApiVersions 3 or later: behind
/// correlation id and error, the entries of seven bytes each (key, first and last version, no tags).
pub(crate) fn cap(api: i16, frame: &mut [u8], key: i16, last: i16) {
    if api != API_VERSIONS {
        return;
    }
    for entry in frame.get_mut(7..).unwrap_or_default().chunks_exact_mut(7) {
        if entry[..2] == key.to_be_bytes() {
            entry[4..6].copy_from_slice(&last.to_be_bytes());
            return;
        }
    }
}
