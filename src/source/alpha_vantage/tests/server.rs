//! A server on loopback that answers from a script and remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{Response, StatusCode, header};
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// One answer of the script; the last one is given for ever.
#[derive(Clone)]
pub(super) enum Reply {
    File(u16, &'static str),
    /// A good answer, as soon as there is a permit for it.
    Held(Arc<Semaphore>, &'static str),
    Late,
    Endless,
    CutOff,
    Redirect(String),
}

#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) queries: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) async fn start(script: Vec<Reply>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let queries = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&queries);
        let handler = move |RawQuery(query): RawQuery| {
            let (seen, script) = (Arc::clone(&seen), script.clone());
            async move {
                let place = {
                    let mut seen = seen.lock();
                    seen.push(query.unwrap_or_default());
                    seen.len() - 1
                };
                answer(script.get(place).or(script.last()).expect("a script")).await
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });
        Self { address, queries }
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.queries.lock().clone()
    }
}

async fn answer(reply: &Reply) -> Response<Body> {
    let response = Response::builder();
    let response = match reply {
        Reply::File(status, name) => response.status(*status).body(Body::from(fixture(name))),
        Reply::Held(gate, name) => {
            gate.acquire().await.expect("never closed").forget();
            response.body(Body::from(fixture(name)))
        }
        Reply::Late => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            response.body(Body::empty())
        }
        Reply::Endless => {
            let parts = stream::repeat_with(|| Ok::<_, Infallible>(vec![b' '; 65_536]));
            response.body(Body::from_stream(parts))
        }
        Reply::CutOff => {
            let bytes = fixture("intraday_ibm_1min.json");
            let half = bytes[..bytes.len() / 2].to_vec();
            let cut = async {
                // Or the error would overtake the bytes before it.
                tokio::time::sleep(Duration::from_millis(100)).await;
                Err(std::io::Error::other("cut"))
            };
            let parts = stream::once(async { Ok(half) }).chain(stream::once(cut));
            response.body(Body::from_stream(parts))
        }
        Reply::Redirect(target) => response
            .status(StatusCode::FOUND)
            .header(header::LOCATION, target)
            .body(Body::empty()),
    };
    response.expect("a response")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/tests/fixtures/alphavantage/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .expect("a fixture")
}
