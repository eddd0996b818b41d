//! One connection to one broker: rskafka's `Messenger` over our transport, with our messages and time limits.
//!
//! `Messenger` frames, correlates and pipelines; which versions the broker has is asked with our own ApiVersions and
//! then handed to it. All API keys go in as numbers (`ApiKey::Unknown`), so that an API that rskafka has no name for is
//! as good as any other.
//!
//! A response is decoded without a copy: the receive buffer is taken out of the cursor whole and becomes the
//! [`Bytes`] of which the message's strings and records are views. `Messenger` then finds 0 of 0 bytes read, so its own check
//! for left-over bytes is off; [`messages::decode`] does it instead.

use std::{
    collections::HashMap,
    io::Cursor,
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use rskafka::{
    messenger::{Messenger, RequestError},
    protocol::{
        api_key::ApiKey,
        api_version::{ApiVersion, ApiVersionRange},
        messages::{
            ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError,
            WriteVersionedType,
        },
        primitives::Int16,
        traits::ReadError,
    },
};
use tokio::{net::TcpStream, time::timeout};

use super::{
    error::{CallError, ErrorCode},
    features::Features,
    messages::{self, ApiVersionsRequest, ApiVersionsResponse, DecodeError, Request},
    transport::{Switch, Transport},
};

/// A request on its way through rskafka's traits.
struct Outgoing<'a, R>(&'a R);

/// A response on its way back, with the version it came in.
struct Incoming<T> {
    body: T,
    version: i16,
}

const fn version(number: i16) -> ApiVersion {
    ApiVersion(Int16(number))
}

impl<R: Request> RequestBody for Outgoing<'_, R> {
    type ResponseBody = Incoming<AnswerTo<R>>;
    const API_KEY: ApiKey = ApiKey::Unknown(Int16(R::KEY));
    const API_VERSION_RANGE: ApiVersionRange =
        ApiVersionRange::new(version(R::MIN_VERSION), version(R::MAX_VERSION));
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = version(R::FLEXIBLE_FROM);
    // ApiVersions' answer has the old header always, so that any client can read it (KIP-511).
    const FIRST_TAGGED_FIELD_IN_RESPONSE_VERSION: ApiVersion =
        version(if R::KEY == ApiVersionsRequest::KEY {
            i16::MAX
        } else {
            R::FLEXIBLE_FROM
        });
}

impl<R: Request> WriteVersionedType<Vec<u8>> for Outgoing<'_, R> {
    fn write_versioned(
        &self,
        writer: &mut Vec<u8>,
        version: ApiVersion,
    ) -> Result<(), WriteVersionedError> {
        messages::encode(self.0, R::version(version.0.0), writer);
        Ok(())
    }
}

/// Decodes the response of `R`, which alone knows the versions.
struct AnswerTo<R: Request> {
    response: R::Response,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> ReadVersionedType<Cursor<Vec<u8>>> for Incoming<AnswerTo<R>> {
    fn read_versioned(
        reader: &mut Cursor<Vec<u8>>,
        version: ApiVersion,
    ) -> Result<Self, ReadVersionedError> {
        let start = usize::try_from(reader.position()).unwrap_or(usize::MAX);
        let frame = Bytes::from(std::mem::take(reader.get_mut()));
        reader.set_position(0);
        let body = frame.slice(start.min(frame.len())..);
        let version = version.0.0;
        match decode_response::<R>(body, version) {
            Ok(response) => Ok(Self {
                body: AnswerTo {
                    response,
                    request: PhantomData,
                },
                version,
            }),
            Err(error) => Err(ReadVersionedError::ReadError(ReadError::Malformed(
                Box::new(error),
            ))),
        }
    }
}

fn decode_response<R: Request>(body: Bytes, number: i16) -> Result<R::Response, DecodeError> {
    // A broker that does not know our version of ApiVersions answers in version 0 (KIP-511).
    if R::KEY == ApiVersionsRequest::KEY
        && body.starts_with(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes())
    {
        return messages::decode(body, R::version(0));
    }
    messages::decode(body, R::version(number))
}

/// What a connection needs to know besides the address.
#[derive(Clone, Debug)]
pub(super) struct ConnectionSettings {
    /// How brokers call us in their logs and quotas.
    pub(super) client_id: Arc<str>,
    /// How long connecting and the first answer may take.
    pub(super) connect_timeout: Duration,
    /// The largest response frame that is read, in bytes.
    pub(super) max_response_bytes: usize,
}

/// An open connection to one broker. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    messenger: Messenger<Transport>,
    switch: Switch,
    address: String,
    versions: HashMap<i16, (i16, i16)>,
    features: Features,
    activity: Mutex<Activity>,
}

/// What tells an idle connection from a used one.
#[derive(Debug)]
struct Activity {
    in_flight: usize,
    last: Instant,
    /// When the broker has answered last.
    answered: Instant,
}

/// One request that counts as under way until this is dropped.
struct InFlight<'a>(&'a Mutex<Activity>);

impl<'a> InFlight<'a> {
    fn begin(activity: &'a Mutex<Activity>) -> Self {
        activity.lock().in_flight += 1;
        Self(activity)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut activity = self.0.lock();
        activity.in_flight -= 1;
        activity.last = Instant::now();
    }
}

impl Connection {
    /// Connects to `host:port` and learns the broker's API versions.
    pub(super) async fn open(
        address: &str,
        settings: &ConnectionSettings,
    ) -> Result<Self, CallError> {
        let cannot_connect = |source| CallError::Connect {
            address: address.to_owned(),
            source,
        };
        let stream = timeout(settings.connect_timeout, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(cannot_connect)?;
        // A request is one write; waiting for more would only delay it.
        stream.set_nodelay(true).map_err(cannot_connect)?;
        let (transport, switch) = Transport::new(stream);
        let messenger = Messenger::new(
            transport,
            settings.max_response_bytes,
            Arc::clone(&settings.client_id),
        );
        let mut connection = Self {
            messenger,
            switch,
            address: address.to_owned(),
            versions: HashMap::new(),
            features: Features::default(),
            activity: Mutex::new(Activity {
                in_flight: 0,
                last: Instant::now(),
                answered: Instant::now(),
            }),
        };
        connection
            .learn_versions(settings.connect_timeout)
            .await
            .map_err(|error| match error {
                CallError::Disconnected { reason, .. } => CallError::NotKafka {
                    address: address.to_owned(),
                    reason,
                },
                CallError::Malformed { source, .. } => CallError::NotKafka {
                    address: address.to_owned(),
                    reason: source.to_string(),
                },
                CallError::TimedOut { after, .. } => CallError::NotKafka {
                    address: address.to_owned(),
                    reason: format!("no answer within {} ms", after.as_millis()),
                },
                error => error,
            })?;
        Ok(connection)
    }

    async fn learn_versions(&mut self, limit: Duration) -> Result<(), CallError> {
        let request = ApiVersionsRequest {
            client_software_name: env!("CARGO_PKG_NAME").into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        self.use_versions(HashMap::from([(
            ApiVersionsRequest::KEY,
            (
                ApiVersionsRequest::MIN_VERSION,
                ApiVersionsRequest::MAX_VERSION,
            ),
        )]));
        let mut response = self.request(&request, limit).await?;
        if ErrorCode(response.error_code) == ErrorCode::UNSUPPORTED_VERSION {
            // A broker says which versions it knows instead (KIP-511); those before 2.4 do not.
            let known = response.api_keys.iter();
            let newest = known
                .filter(|api| api.api_key == ApiVersionsRequest::KEY)
                .map(|api| api.max_version)
                .find(|newest| *newest < ApiVersionsRequest::MAX_VERSION)
                .unwrap_or(0);
            self.use_versions(HashMap::from([(
                ApiVersionsRequest::KEY,
                (0, newest.max(0)),
            )]));
            response = self.request(&request, limit).await?;
        }
        self.use_versions(ranges(&response));
        self.features = Features::of(&response);
        Ok(())
    }

    fn use_versions(&mut self, versions: HashMap<i16, (i16, i16)>) {
        self.messenger.override_version_ranges(
            versions
                .iter()
                .map(|(key, (min, max))| {
                    (
                        ApiKey::Unknown(Int16(*key)),
                        ApiVersionRange::new(version(*min), version(*max)),
                    )
                })
                .collect(),
        );
        self.versions = versions;
    }

    /// The version in which this connection speaks the API `R`, if both sides know one.
    pub fn version_of<R: Request>(&self) -> Option<i16> {
        let (min, max) = self.versions.get(&R::KEY)?;
        let version = R::MAX_VERSION.min(*max);
        (version >= R::MIN_VERSION && version >= *min).then_some(version)
    }

    /// The features of the cluster, as the broker knew them when the connection was made.
    pub(super) fn features(&self) -> Features {
        self.features
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the connection broke or was closed.
    pub fn is_closed(&self) -> bool {
        self.switch.is_closed()
    }

    /// Closes the connection: nothing that is under way reaches the broker any more, nor any answer us.
    pub fn close(&self) {
        self.switch.close();
    }

    /// When the broker has answered last.
    pub(super) fn answered(&self) -> Instant {
        self.activity.lock().answered
    }

    /// How long nothing has been asked; `None` while an answer is waited for.
    pub(super) fn idle_for(&self, now: Instant) -> Option<Duration> {
        let activity = self.activity.lock();
        (activity.in_flight == 0).then(|| now.saturating_duration_since(activity.last))
    }

    /// Sends one request and waits for its answer, at most `limit`.
    ///
    /// Requests go out in the order in which their futures are first polled, and the broker answers them in that order.
    /// A future that is dropped after its first poll leaves it unknown whether the broker got the request; one that
    /// runs into `limit` also closes the connection, because the answers behind it would wait as well.
    pub async fn request<R: Request + Sync>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response, CallError> {
        let _in_flight = InFlight::begin(&self.activity);
        match timeout(limit, self.messenger.request(Outgoing(request))).await {
            Ok(Ok(Incoming { body, version })) => {
                tracing::trace!(address = %self.address, api = R::NAME, version, "answered");
                self.activity.lock().answered = Instant::now();
                Ok(body.response)
            }
            Ok(Err(error)) => Err(self.call_error::<R>(error)),
            Err(_) => {
                self.close();
                Err(CallError::TimedOut {
                    address: self.address.clone(),
                    api: R::NAME,
                    after: limit,
                })
            }
        }
    }

    fn call_error<R: Request>(&self, error: RequestError) -> CallError {
        let address = self.address.clone();
        let api = R::NAME;
        match error {
            RequestError::NoVersionMatch { .. } => CallError::Unsupported {
                address,
                api,
                min: R::MIN_VERSION,
                max: R::MAX_VERSION,
            },
            RequestError::ReadVersionedError(ReadVersionedError::ReadError(
                ReadError::Malformed(source),
            )) if source.is::<DecodeError>() => CallError::Malformed {
                address,
                api,
                source: *source
                    .downcast()
                    .unwrap_or(Box::new(DecodeError::TrailingBytes { left: 0 })),
            },
            error => {
                // Whatever it was, the stream may be out of step.
                self.close();
                let mut innermost: &dyn std::error::Error = &error;
                while let Some(source) = innermost.source() {
                    innermost = source;
                }
                let mut reason = innermost.to_string();
                if let RequestError::Poisoned(cause) = &error {
                    reason = cause.to_string();
                }
                CallError::Disconnected {
                    address,
                    api,
                    reason,
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.switch.close();
    }
}

/// The broker's ranges; what is not a range is left out, as if the broker did not have the API.
fn ranges(response: &ApiVersionsResponse) -> HashMap<i16, (i16, i16)> {
    response
        .api_keys
        .iter()
        .filter(|api| 0 <= api.min_version && api.min_version <= api.max_version)
        .map(|api| (api.api_key, (api.min_version, api.max_version)))
        .collect()
}
