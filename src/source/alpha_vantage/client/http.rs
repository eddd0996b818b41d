//! The thin HTTP client: one GET, a bounded body, and no way for the API key to get out.
//!
//! The key stands in the query, as the service wants it. So redirects are not followed, and no error keeps a URL.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::{Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};

use super::fault::Fault;
use crate::net;
use crate::source::SourceError;
use crate::source::redact::redact;

/// A host that does not take a connection within this does not answer in time either.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The service's path for every function.
const PATH: &str = "/query";

/// What came back.
#[derive(Debug)]
pub(in crate::source::alpha_vantage) struct Answer {
    pub(in crate::source::alpha_vantage) status: u16,
    pub(in crate::source::alpha_vantage) body: Vec<u8>,
    /// Why the body ended before its end.
    pub(in crate::source::alpha_vantage) cut: Option<String>,
    pub(in crate::source::alpha_vantage) retry_after: Option<Duration>,
    /// Where a redirect points to: scheme, host, port and path, without the key.
    pub(in crate::source::alpha_vantage) redirect: Option<String>,
}

/// Asks one service.
#[derive(Clone, Debug)]
pub(in crate::source::alpha_vantage) struct Client {
    http: reqwest::Client,
    url: Url,
    key: SecretString,
    body_limit: usize,
}

impl Client {
    pub(in crate::source::alpha_vantage) fn new(
        base_url: &str,
        key: SecretString,
        body_limit: usize,
    ) -> Result<Self, SourceError> {
        let refuse = |problem: String| SourceError::Setting {
            setting: "AlphaVantage.BaseUrl",
            problem,
        };
        let mut url = Url::parse(base_url)
            .map_err(|error| refuse(format!("{base_url:?} is not a URL ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(refuse(format!(
                "{base_url:?} is neither http://… nor https://…"
            )));
        }
        let path = url.path().trim_end_matches('/');
        if !path.ends_with(PATH) {
            let path = format!("{path}{PATH}");
            url.set_path(&path);
        }
        let tls = net::client_config(url.scheme() == "https")
            .map_err(|error| refuse(error.to_string()))?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("stockflow/", env!("CARGO_PKG_VERSION")));
        if url
            .host_str()
            .is_some_and(|host| matches!(host, "127.0.0.1" | "[::1]" | "localhost"))
        {
            // A proxy of the environment would look for our loopback on its own machine. Elsewhere HTTPS_PROXY and its
            // like are followed.
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| refuse(error.without_url().to_string()))?;
        Ok(Self {
            http,
            url,
            key,
            body_limit,
        })
    }

    pub(in crate::source::alpha_vantage) fn key(&self) -> &str {
        self.key.expose_secret()
    }

    /// From now on this key is sent.
    pub(in crate::source::alpha_vantage) fn set_key(&mut self, key: SecretString) {
        self.key = key;
    }

    /// Scheme, host and port of the service.
    pub(in crate::source::alpha_vantage) fn service(&self) -> String {
        origin(&self.url)
    }

    /// Starts a request: the future is its own, so that it can outlive whoever waits for it.
    pub(in crate::source::alpha_vantage) fn get(
        &self,
        query: &[(&str, &str)],
        timeout: Duration,
    ) -> impl Future<Output = Result<Answer, Fault>> + Send + use<> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .extend_pairs(query)
            .append_pair("apikey", self.key());
        let request = self.http.get(url).timeout(timeout);
        let (address, limit, key) = (origin(&self.url), self.body_limit, self.key.clone());
        async move {
            let mut response = request
                .send()
                .await
                .map_err(|error| fault(error, &address, timeout))?;
            let header = |name| {
                response
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
            };
            let mut answer = Answer {
                status: response.status().as_u16(),
                body: Vec::new(),
                cut: None,
                retry_after: header(RETRY_AFTER).and_then(|text| retry_after(text, Utc::now())),
                redirect: header(LOCATION).map(|target| {
                    response.url().join(target).map_or_else(
                        |_| "an address that is none".to_owned(),
                        |url| {
                            redact(
                                &format!("{}{}", origin(&url), url.path()),
                                Some(key.expose_secret()),
                            )
                        },
                    )
                }),
            };
            loop {
                match response.chunk().await {
                    Ok(Some(part)) if answer.body.len() + part.len() > limit => {
                        return Err(Fault::TooLarge { limit });
                    }
                    Ok(Some(part)) => answer.body.extend_from_slice(&part),
                    Ok(None) => return Ok(answer),
                    Err(error) if answer.body.is_empty() => {
                        return Err(fault(error, &address, timeout));
                    }
                    Err(error) => {
                        answer.cut = Some(fault(error, &address, timeout).to_string());
                        return Ok(answer);
                    }
                }
            }
        }
    }
}

/// RFC 9110, section 10.2.3: a number of seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

/// Scheme, host and port: all of a URL that may be shown.
fn origin(url: &Url) -> String {
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    format!(
        "{}://{}{port}",
        url.scheme(),
        url.host_str().unwrap_or_default()
    )
}

fn fault(error: reqwest::Error, address: &str, timeout: Duration) -> Fault {
    let address = address.to_owned();
    if error.is_timeout() && !error.is_connect() {
        return Fault::TimedOut {
            address,
            after: timeout,
        };
    }
    let sent = !error.is_connect();
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !why.contains(&text) {
            why = format!("{why}: {text}");
        }
        cause = inner.source();
    }
    why.push_str(advice(&why));
    Fault::Unreachable { address, why, sent }
}

/// What to do about a failure that a setting of the environment mends.
fn advice(why: &str) -> &'static str {
    if why.contains("UnknownIssuer") {
        " (a CA of your own, as that of a proxy that looks into TLS, is trusted when SSL_CERT_FILE names its certificate)"
    } else if why.contains("tunnel") {
        " (that is the proxy, which HTTPS_PROXY names)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_environment_can_mend_is_named() {
        let error = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(advice(&error.to_string()).contains("SSL_CERT_FILE"));
        assert!(advice("tunnel error: unsuccessful").contains("HTTPS_PROXY"));
        assert_eq!(advice("connection refused"), "");
    }

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let now = "2015-10-21T07:27:00Z".parse().expect("a time");
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:20:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                retry_after(text, now).map(|after| after.as_secs()),
                seconds,
                "{text}"
            );
        }
    }
}
