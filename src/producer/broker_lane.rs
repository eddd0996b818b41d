//! One broker's lane: Produce requests go on the wire in the order in which they were handed over, and several are
//! under way at a time.

use super::transaction::Protocol;
use crate::wire::cluster::{Cluster, Lane};
use crate::wire::connection::Connection;
use crate::wire::error::CallError;
use crate::wire::messages::{
    AddedProduceRequest, AddingProduceRequest, ProduceRequest, ProduceResponse,
};
use futures::stream::{FuturesUnordered, StreamExt};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A request with what it carries: partition and ticket of each batch.
#[derive(Debug)]
pub(super) struct LaneRequest {
    pub(super) request: ProduceRequest,
    /// How it takes part in a transaction, if it does.
    pub(super) protocol: Option<Protocol>,
    pub(super) batches: Vec<(i32, u64)>,
}

/// How an errand ended.
#[derive(Debug)]
pub(super) struct LaneResponse {
    pub(super) node: i32,
    pub(super) batches: Vec<(i32, u64)>,
    pub(super) answer: Result<ProduceResponse, CallError>,
}

/// Serves `errands` until their sender is gone; whoever hands them over bounds how many are under way.
pub(super) async fn serve(
    cluster: Arc<Cluster>,
    node: i32,
    limit: Duration,
    mut errands: mpsc::Receiver<LaneRequest>,
    reports: mpsc::Sender<LaneResponse>,
) {
    let mut under_way = FuturesUnordered::new();
    loop {
        let errand = tokio::select! {
            // What is under way is polled first: a request that was pushed is on the wire before the next is taken.
            biased;
            Some(report) = under_way.next() => {
                if reports.send(report).await.is_err() {
                    return;
                }
                continue;
            }
            errand = errands.recv() => errand,
        };
        let Some(errand) = errand else {
            return;
        };
        let mut connecting = pin!(cluster.connection(node, Lane::Produce));
        // Answers are passed on while a connection is being made, which may take as long as the pause after a failure.
        let connected = loop {
            let report = tokio::select! {
                biased;
                Some(report) = under_way.next() => report,
                connected = &mut connecting => break connected,
            };
            if reports.send(report).await.is_err() {
                return;
            }
        };
        match connected {
            Ok(connection) => under_way.push(run(connection, node, limit, errand)),
            Err(error) => {
                let answer = Err(error);
                let report = LaneResponse {
                    node,
                    batches: errand.batches,
                    answer,
                };
                if reports.send(report).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn run(
    connection: Arc<Connection>,
    node: i32,
    limit: Duration,
    errand: LaneRequest,
) -> LaneResponse {
    let LaneRequest {
        request,
        protocol,
        batches,
    } = errand;
    let answer = match protocol {
        None => connection.request(&request, limit).await,
        Some(Protocol::First) => {
            let request = AddedProduceRequest::new(request);
            connection.request(&request, limit).await
        }
        Some(Protocol::Second) => {
            let request = AddingProduceRequest::new(request);
            connection.request(&request, limit).await
        }
    };
    LaneResponse {
        node,
        batches,
        answer,
    }
}
