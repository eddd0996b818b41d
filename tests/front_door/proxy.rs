//! A TCP proxy that misbehaves on demand, between the program and a broker that advertises the proxy's port.
//!
//! Every fault that a network has is one of six: connections are cut (also in the middle of a frame), delayed, stalled,
//! or closed on one side only. Which comes when is drawn from a seed. Four more come on demand: the broker is gone, what
//! a client has sent is kept back, also when it has given the connection up, and delivered long after, a bit of what
//! the broker sends is flipped, or it comes slowly.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

#[derive(Debug, Default)]
struct Weather {
    /// Connections of an older number are cut.
    generation: AtomicU64,
    /// The next bytes that pass are cut in half, and their connection with them.
    cut_in_frame: AtomicBool,
    delay_ms: AtomicU64,
    /// Of what the broker sends, how many bytes a second pass on each connection; 0 is as many as come.
    rate: AtomicU64,
    stalled: AtomicBool,
    /// The next bytes from the client end its half of the connection, or those from the broker its own.
    half_close: [AtomicBool; 2],
    /// Nobody listens.
    gone: AtomicBool,
    /// How many connections were made, and before which of them what the client sends is kept back.
    made: AtomicU64,
    kept_before: AtomicU64,
    kept_bytes: AtomicU64,
    ended: AtomicBool,
    faults: AtomicU64,
    /// What the broker sends wrong: the last bit of these bytes.
    flipped: Mutex<Option<&'static [u8]>>,
    /// What it sends wrong once.
    flipped_once: Mutex<Option<Vec<u8>>>,
}

/// Forwards connections to one broker until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    weather: Arc<Weather>,
}

impl Proxy {
    /// Listens on `from` (port 0: any) and forwards to `to`, which may be unknown yet.
    pub(crate) fn start(from: &str, to: impl Fn() -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind(from).expect("a port for the proxy");
        let address = listener.local_addr().expect("its address");
        let weather = Arc::new(Weather::default());
        let of_thread = Arc::clone(&weather);
        thread::spawn(move || {
            for client in listener.incoming() {
                if of_thread.ended.load(SeqCst) {
                    return;
                }
                // A broker that is down: the client's connection ends at once.
                if of_thread.gone.load(SeqCst) {
                    continue;
                }
                if let (Ok(client), Ok(broker)) = (client, TcpStream::connect(to())) {
                    join(&client, &broker, &of_thread);
                }
            }
        });
        Self { address, weather }
    }

    /// Storms until the proxy is calmed: a fault every 20 to 700 ms.
    pub(crate) fn storm(&self, seed: u64) {
        let weather = Arc::clone(&self.weather);
        weather.ended.store(false, SeqCst);
        thread::spawn(move || {
            let mut random = StdRng::seed_from_u64(seed);
            while !weather.ended.load(SeqCst) {
                thread::sleep(Duration::from_millis(random.random_range(20..700)));
                weather.faults.fetch_add(1, SeqCst);
                match random.random_range(0..7) {
                    0 => {
                        weather.generation.fetch_add(1, SeqCst);
                    }
                    1 => weather.cut_in_frame.store(true, SeqCst),
                    2 => weather.delay_ms.store(random.random_range(1..150), SeqCst),
                    3 => {
                        weather.stalled.store(true, SeqCst);
                        thread::sleep(Duration::from_millis(random.random_range(10..2_500)));
                        weather.stalled.store(false, SeqCst);
                    }
                    side @ (4 | 5) => weather.half_close[side - 4].store(true, SeqCst),
                    _ => weather.delay_ms.store(0, SeqCst),
                }
            }
        });
    }

    /// Lets nothing pass, without closing a connection, or lets pass again what was held up and what comes.
    pub(crate) fn darken(&self, dark: bool) {
        self.weather.stalled.store(dark, SeqCst);
    }

    /// Lets only so many bytes a second from the broker pass on each connection.
    pub(crate) fn slow_down(&self, rate: u64) {
        self.weather.rate.store(rate, SeqCst);
    }

    /// Cuts all connections and takes no more, or takes them again.
    pub(crate) fn vanish(&self, gone: bool) {
        self.weather.gone.store(gone, SeqCst);
        self.weather.generation.fetch_add(1, SeqCst);
    }

    /// Keeps back what clients send on the connections that there are now; others are not concerned.
    pub(crate) fn keep_back(&self) {
        let made = self.weather.made.load(SeqCst);
        self.weather.kept_before.store(made, SeqCst);
    }

    /// Delivers what was kept back, whether its sender still lives or not; says how many bytes.
    pub(crate) fn deliver(&self) -> u64 {
        self.weather.kept_before.store(0, SeqCst);
        self.weather.kept_bytes.swap(0, SeqCst)
    }

    /// Flips the last bit of these bytes wherever the broker sends them.
    pub(crate) fn flip(&self, bytes: &'static [u8]) {
        *self.weather.flipped.lock().expect("no panic") = Some(bytes);
    }

    /// Flips the last bit of these bytes where the broker sends them next.
    pub(crate) fn flip_once(&self, bytes: &[u8]) {
        *self.weather.flipped_once.lock().expect("no panic") = Some(bytes.to_vec());
    }

    /// Whether that was done.
    pub(crate) fn has_flipped(&self) -> bool {
        let left = self.weather.flipped_once.lock().expect("no panic");
        left.is_none()
    }

    /// No more faults; says how many there were.
    pub(crate) fn calm(&self) -> u64 {
        self.weather.ended.store(true, SeqCst);
        // The storm's thread may be in the middle of one.
        thread::sleep(Duration::from_millis(50));
        self.weather.delay_ms.store(0, SeqCst);
        self.weather.stalled.store(false, SeqCst);
        self.weather.cut_in_frame.store(false, SeqCst);
        for side in &self.weather.half_close {
            side.store(false, SeqCst);
        }
        self.weather.ended.store(false, SeqCst);
        self.weather.faults.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.weather.ended.store(true, SeqCst);
        self.weather.generation.fetch_add(1, SeqCst);
        // So that the thread which accepts sees it.
        let _ = TcpStream::connect(self.address);
    }
}

fn join(client: &TcpStream, broker: &TcpStream, weather: &Arc<Weather>) {
    let born = weather.generation.load(SeqCst);
    let number = weather.made.fetch_add(1, SeqCst);
    for (side, from, to) in [(0, client, broker), (1, broker, client)] {
        let _ = from.set_nodelay(true);
        let _ = from.set_read_timeout(Some(Duration::from_millis(20)));
        if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
            let weather = Arc::clone(weather);
            thread::spawn(move || forward(from, to, side, (born, number), &weather));
        }
    }
}

fn forward(
    mut from: TcpStream,
    mut to: TcpStream,
    side: usize,
    (born, number): (u64, u64),
    weather: &Weather,
) {
    let is_kept = || number < weather.kept_before.load(SeqCst);
    let mut was_kept = false;
    let cut = |from: &TcpStream, to: &TcpStream| {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    };
    let mut buffer = vec![0; 64 << 10];
    loop {
        if weather.generation.load(SeqCst) != born {
            return cut(&from, &to);
        }
        was_kept |= is_kept();
        if is_kept() && side == 0 {
            keep(&mut from, &mut to, weather, is_kept);
            return;
        }
        if weather.stalled.load(SeqCst) {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        let bytes = match from.read(&mut buffer) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            // Nobody is there any more to read the answers to what was kept.
            Ok(_) if was_kept => continue,
            Ok(count) => &mut buffer[..count],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => return cut(&from, &to),
        };
        if side == 1
            && let Some(marker) = *weather.flipped.lock().expect("no panic")
        {
            let places: Vec<usize> = memchr::memmem::find_iter(bytes, marker).collect();
            for place in places {
                bytes[place + marker.len() - 1] ^= 1;
            }
        }
        if side == 1 {
            let mut once = weather.flipped_once.lock().expect("no panic");
            if let Some(marker) = &*once
                && let Some(place) = memchr::memmem::find(bytes, marker)
            {
                bytes[place + marker.len() - 1] ^= 1;
                *once = None;
            }
        }
        let delay = weather.delay_ms.load(SeqCst);
        if delay > 0 {
            thread::sleep(Duration::from_millis(delay));
        }
        let rate = weather.rate.load(SeqCst);
        if side == 1 && rate > 0 {
            thread::sleep(Duration::from_micros(bytes.len() as u64 * 1_000_000 / rate));
        }
        if weather.half_close[side].swap(false, SeqCst) {
            let _ = to.write_all(bytes);
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        if weather.cut_in_frame.swap(false, SeqCst) {
            let _ = to.write_all(&bytes[..bytes.len() / 2]);
            return cut(&from, &to);
        }
        if to.write_all(bytes).is_err() {
            return cut(&from, &to);
        }
    }
}

/// Reads all that comes, and delivers it when it is to be kept back no longer.
fn keep(from: &mut TcpStream, to: &mut TcpStream, weather: &Weather, is_kept: impl Fn() -> bool) {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while is_kept() {
        match from.read(&mut buffer) {
            Ok(count) if count > 0 => {
                kept.extend_from_slice(&buffer[..count]);
                weather.kept_bytes.fetch_add(count as u64, SeqCst);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // The client has given up; what it sent is on its way all the same.
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
    let _ = to.write_all(&kept);
    let _ = to.shutdown(Shutdown::Write);
}
