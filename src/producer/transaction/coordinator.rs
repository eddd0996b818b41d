//! The coordinator of a transactional id: found, asked, and asked again for as long as it has no answer.

use crate::wire::cluster::{Backoff, Cluster, ClusterError, Lane};
use crate::wire::error::{CallError, ErrorCode, Remedy};
use crate::wire::messages::Request;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pauses before asking again. The markers of the transaction before are written within milliseconds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// For how long nothing is said of a coordinator that has no answer: an election takes less.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// How often it is said again.
const REMIND: Duration = Duration::from_secs(60);

/// How often a coordinator is asked again that failed without saying why: for some seconds. A loaded one does so in passing,
/// and asking again changes nothing; one that goes on so is believed.
const FAILURES: u32 = 12;

/// Why a question has no answer that it could go on with.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The coordinator refuses.
    Refused(ErrorCode),
    /// There was none in time.
    Away,
}

/// Since when the coordinator has had no answer, and what came last instead.
#[derive(Debug, Default)]
pub(super) struct Away(Mutex<Option<(Instant, Arc<str>)>>);

impl Away {
    /// For how long, and what came instead.
    pub(super) fn look(&self) -> Option<(Duration, Arc<str>)> {
        let away = self.0.lock();
        away.as_ref()
            .map(|(since, cause)| (since.elapsed(), Arc::clone(cause)))
    }

    fn note(&self, error: &ClusterError) {
        let cause = error.to_string().into();
        let mut away = self.0.lock();
        let since = away.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        *away = Some((since, cause));
    }

    fn is_back(&self) {
        *self.0.lock() = None;
    }
}

/// The coordinator of a transactional id, whichever broker that is.
pub(super) struct Coordinator<'a> {
    cluster: &'a Cluster,
    id: &'a str,
    away: &'a Away,
    node: Option<i32>,
    backoff: Backoff,
    since: Instant,
    /// When it was last said that it has no answer.
    told: Option<Instant>,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(cluster: &'a Cluster, id: &'a str, away: &'a Away) -> Self {
        Self {
            cluster,
            id,
            away,
            node: None,
            backoff: Backoff::new(PAUSE.0, PAUSE.1),
            since: Instant::now(),
            told: None,
        }
    }

    /// Asks until there is an answer that stands, or until then.
    pub(super) async fn ask<R: Request + Sync, T>(
        &mut self,
        request: &R,
        judge: &impl Fn(R::Response) -> Result<T, ErrorCode>,
        until: Option<Instant>,
    ) -> Result<T, NoAnswer> {
        let asking = self.ask_on(request, judge);
        let answer = match until {
            None => asking.await,
            Some(until) => match tokio::time::timeout_at(until.into(), asking).await {
                Ok(answer) => answer,
                Err(_) => return Err(NoAnswer::Away),
            },
        };
        answer.map_err(NoAnswer::Refused)
    }

    async fn ask_on<R: Request + Sync, T>(
        &mut self,
        request: &R,
        judge: &impl Fn(R::Response) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let mut failures = 0;
        loop {
            let error = match self.ask_once(request, judge).await {
                Ok(done) => {
                    self.away.is_back();
                    if self.told.is_some() {
                        tracing::info!(id = %self.id, "the transaction's coordinator answers again");
                    }
                    return Ok(done);
                }
                Err(
                    error @ ClusterError::Transaction {
                        code: ErrorCode::UNKNOWN_SERVER_ERROR,
                        ..
                    },
                ) if failures < FAILURES => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(id = %self.id, api = R::NAME, "{error}; it is asked again");
                    }
                    error
                }
                Err(ClusterError::Transaction { code, .. }) if code.remedy() == Remedy::None => {
                    return Err(code);
                }
                Err(error) => error,
            };
            self.away.note(&error);
            let api = R::NAME;
            if self.since.elapsed() >= QUIET
                && self.told.is_none_or(|told| told.elapsed() >= REMIND)
            {
                self.told = Some(Instant::now());
                tracing::warn!(id = %self.id, api, "the transaction's coordinator (Kafka.TransactionalId) has no answer; it is asked again: {error}");
            } else {
                tracing::debug!(id = %self.id, api, %error, "the transaction's coordinator has no answer");
            }
            self.pause().await;
        }
    }

    /// Asks once; whether asking again may help, the error knows.
    pub(super) async fn ask_once<R: Request + Sync, T>(
        &mut self,
        request: &R,
        judge: &impl Fn(R::Response) -> Result<T, ErrorCode>,
    ) -> Result<T, ClusterError> {
        let node = match self.node.take() {
            Some(node) => node,
            None => self.cluster.transaction_coordinator(self.id).await?,
        };
        let judged = match self.cluster.request(node, Lane::Control, request).await {
            Ok(answer) => judge(answer),
            Err(CallError::Unsupported { .. }) => Err(ErrorCode::UNSUPPORTED_VERSION),
            Err(error) => return Err(error.into()),
        };
        judged.map_err(|code| {
            self.node = (code.remedy() != Remedy::FindCoordinator).then_some(node);
            ClusterError::Transaction {
                id: self.id.to_owned(),
                code,
            }
        })
    }

    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.backoff.next_pause(rand::random())).await;
    }
}
