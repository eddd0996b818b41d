//! A stop that was asked for: by Ctrl-C, SIGTERM, SIGHUP or a key, or by the part of the program that is done first.
//!
//! ```text
//!  running ── Ctrl-C, SIGTERM, SIGHUP, key ──► stopping (drain, until the deadline) ── Ctrl-C, second SIGTERM ──► interrupted
//! ```
//!
//! One stop may arrive as several signals: GNU `timeout` sends SIGTERM to its child and then to the process group, a shell
//! that ends sends SIGHUP and SIGTERM. Signals that come together count as one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep_until,
};

use super::error::PipelineError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Stopping { until: Instant },
    Interrupted,
}

/// A handle on the stop of a pipeline; all clones speak of the same one.
#[derive(Clone, Debug)]
pub struct Stop {
    state: Arc<watch::Sender<State>>,
    timeout: Duration,
}

impl Stop {
    /// Nothing is asked for yet; once it is, `timeout` is what it may take (`ShutdownTimeoutMs`).
    pub fn new(timeout: Duration) -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::Running)),
            timeout,
        }
    }

    /// Asks for the stop. Asked for again, nothing changes.
    pub fn request(&self) {
        let until = Instant::now() + self.timeout;
        self.state.send_if_modified(|state| {
            let running = *state == State::Running;
            if running {
                *state = State::Stopping { until };
            }
            running
        });
    }

    /// Whether the stop was asked for.
    pub fn is_requested(&self) -> bool {
        *self.state.borrow() != State::Running
    }

    /// Waits until the stop is asked for.
    pub async fn requested(&self) {
        self.wait(|state| *state != State::Running).await;
    }

    /// Waits for a second Ctrl-C or SIGTERM.
    pub async fn interrupted(&self) {
        self.wait(|state| *state == State::Interrupted).await;
    }

    /// By when everything has to be done; an hour from now as long as nobody asked for the stop.
    pub fn deadline(&self) -> Instant {
        match *self.state.borrow() {
            State::Stopping { until } => until,
            State::Running => Instant::now() + Duration::from_secs(3_600),
            State::Interrupted => Instant::now(),
        }
    }

    /// Waits until the stop was asked for and its time is over.
    pub async fn overdue(&self) -> PipelineError {
        self.requested().await;
        sleep_until(self.deadline().into()).await;
        PipelineError::StopTooSlow {
            after: self.timeout,
        }
    }

    async fn wait(&self, reached: impl FnMut(&State) -> bool) {
        let mut state = self.state.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = state.wait_for(reached).await;
    }

    /// Listens for Ctrl-C, SIGTERM and SIGHUP from now on; SIGHUP stays ignored where it was (`nohup`).
    ///
    /// # Errors
    /// When the system does not let us listen.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // A file that may not become longer (`ulimit -f`) is an error of writing, not the end of the process.
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        let mut hangup = if ignores_hangup() {
            None
        } else {
            Some(signal(SignalKind::hangup())?)
        };
        let stop = self.clone();
        tokio::spawn(async move {
            let mut signals = Signals::default();
            loop {
                let signal = tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                    Some(_) = async { hangup.as_mut()?.recv().await } => Signal::Hangup,
                };
                match signals.hear(signal, Instant::now(), stop.is_requested()) {
                    Heard::Stop => {
                        say(signal.words()).await;
                        // What came while the line was written came together with this one.
                        signals.heard = Some(Instant::now());
                        stop.request();
                    }
                    Heard::Same => {}
                    Heard::AtOnce => {
                        stop.state.send_replace(State::Interrupted);
                        return;
                    }
                }
            }
        });
        Ok(())
    }
}

/// Signals that arrive within this time are one.
const TOGETHER: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Interrupt,
    Terminate,
    Hangup,
}

impl Signal {
    fn words(self) -> &'static str {
        match self {
            Self::Interrupt => "stopping; press Ctrl-C again to stop without draining",
            Self::Terminate => "stopping (SIGTERM); a second one stops without draining",
            Self::Hangup => "stopping (SIGHUP)",
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Drain and stop.
    Stop,
    /// Nothing: it came together with the one before.
    Same,
    /// Stop without draining.
    AtOnce,
}

/// The signals so far.
#[derive(Debug, Default)]
struct Signals {
    /// When the last one came that was not the same as one before.
    heard: Option<Instant>,
    /// Whether a SIGTERM came.
    terminated: bool,
}

impl Signals {
    /// What a signal asks for that comes at this time; `stopping` where a stop was asked for, in whatever way.
    fn hear(&mut self, signal: Signal, at: Instant, stopping: bool) -> Heard {
        let terminated = self.terminated;
        self.terminated |= signal == Signal::Terminate;
        if self
            .heard
            .is_some_and(|heard| at.saturating_duration_since(heard) < TOGETHER)
        {
            return Heard::Same;
        }
        self.heard = Some(at);
        match signal {
            Signal::Interrupt if stopping => Heard::AtOnce,
            Signal::Terminate if terminated => Heard::AtOnce,
            _ => Heard::Stop,
        }
    }
}

/// Whether whoever started the process had SIGHUP ignored, as `nohup` does; where the kernel does not say, it had not.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = rustix::process::Signal::HUP.as_raw() - 1;
    ignored.is_some_and(|mask| mask >> bit & 1 == 1)
}

/// Logs it, at most so long: who listens for signals must not wait for a standard error that nobody reads.
async fn say(what: &'static str) {
    let said = tokio::task::spawn_blocking(move || tracing::info!("{what}"));
    let _ = tokio::time::timeout(Duration::from_millis(200), said).await;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_signal_stops_at_once_only_when_it_comes_later() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut signals = Signals::default();
        let mut hear = |signal, at, stopping| signals.hear(signal, at, stopping);
        assert_eq!(hear(Signal::Terminate, ms(0), false), Heard::Stop);
        assert_eq!(hear(Signal::Terminate, ms(1), true), Heard::Same);
        assert_eq!(hear(Signal::Interrupt, ms(199), true), Heard::Same);
        assert_eq!(hear(Signal::Terminate, ms(200), true), Heard::AtOnce);
        // A stop that a key asked for: one Ctrl-C is the second.
        let mut signals = Signals::default();
        assert_eq!(signals.hear(Signal::Interrupt, ms(0), true), Heard::AtOnce);
    }

    proptest! {
        #[test]
        fn signals_that_come_together_are_one(
            kinds in prop::collection::vec(
                prop::sample::select(vec![Signal::Interrupt, Signal::Terminate, Signal::Hangup]), 1..8),
            within in prop::collection::vec(0_u64..200, 8),
            later in 200_u64..10_000,
        ) {
            let start = Instant::now();
            let mut within = within;
            within.sort_unstable();
            within[0] = 0;
            let mut signals = Signals::default();
            let heard: Vec<Heard> = kinds
                .iter()
                .zip(&within)
                .enumerate()
                .map(|(index, (kind, ms))| signals.hear(*kind, start + Duration::from_millis(*ms), index > 0))
                .collect();
            prop_assert_eq!(heard[0], Heard::Stop);
            prop_assert!(heard[1..].iter().all(|heard| *heard == Heard::Same));
            let later = start + Duration::from_millis(later);
            prop_assert_eq!(signals.hear(Signal::Interrupt, later, true), Heard::AtOnce);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_has_one_deadline() {
        let stop = Stop::new(Duration::from_secs(8));
        assert!(!stop.is_requested());
        stop.request();
        let deadline = stop.deadline();
        stop.request();
        assert_eq!(stop.deadline(), deadline);
        stop.requested().await;
        assert!(matches!(
            stop.overdue().await,
            PipelineError::StopTooSlow { .. }
        ));
    }
}
