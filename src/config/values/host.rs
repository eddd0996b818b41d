//! Addresses of brokers: `HOST:PORT`, with IPv6 addresses in brackets (RFC 3986, 3.2.2).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port that is meant when none is given, as with librdkafka.
const KAFKA_PORT: u16 = 9092;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// 0 to 65535; 0 only where any free port may be listened on.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = String;

    /// `HOST:PORT`; without a port it is Kafka's usual one, 9092.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, plain)) = text.rsplit_once('@') {
            // Not repeated: it may be a password.
            return Err(format!(
                "…@{plain}: a broker's address has no user and password in it; those are set by keys of their own (Kafka.SaslUsername)"
            ));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest
                    .split_once(']')
                    .ok_or_else(|| format!("{text:?} lacks a ']'"))?;
                let plain = address
                    .split_once('%')
                    .map_or(address, |(plain, _zone)| plain);
                if plain.parse::<Ipv6Addr>().is_err() {
                    return Err(format!("{text:?}: {address:?} is not an IPv6 address"));
                }
                match port.strip_prefix(':') {
                    Some(port) => (address, Some(port)),
                    None if port.is_empty() => (address, None),
                    None => return Err(format!("{text:?}: after ']' comes :PORT")),
                }
            }
            None if text.matches(':').count() > 1 => {
                return Err(format!(
                    "{text:?}: an IPv6 address stands in brackets, as in [::1]:9092"
                ));
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || host.len() > 255 || !host.chars().all(legal) {
            return Err(format!("{text:?} is not HOST:PORT, such as localhost:9092"));
        }
        let port = match port {
            None => KAFKA_PORT,
            Some(port) => port
                .parse()
                .map_err(|_| format!("{text:?}: {port:?} is not a port (0 to 65535)"))?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// The brokers to ask first: at least one, each with a port above 0.
pub(in crate::config) fn host_ports(items: &[String]) -> Result<Vec<HostPort>, String> {
    let mut hosts = Vec::with_capacity(items.len());
    for item in items {
        // librdkafka accepts the protocol in front.
        let plain = match item.split_once("://") {
            Some((protocol, rest)) if protocol.eq_ignore_ascii_case("plaintext") => rest,
            Some((protocol, _)) => {
                return Err(format!(
                    "{protocol:?}://…: the protocol is set by Kafka.SecurityProtocol"
                ));
            }
            None => item,
        };
        let host: HostPort = plain.parse()?;
        if host.port == 0 {
            return Err(format!("{item:?}: a broker's port is 1 to 65535"));
        }
        hosts.push(host);
    }
    if hosts.is_empty() {
        return Err("expected HOST:PORT, such as localhost:9092, found nothing".to_owned());
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_as_people_write_them() {
        for (text, shown) in [
            ("localhost:9092", "localhost:9092"),
            ("kafka", "kafka:9092"),
            ("[::1]:9093", "[::1]:9093"),
            ("[fe80::1%eth0]", "[fe80::1%eth0]:9092"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(
                text.parse::<HostPort>().map(|host| host.to_string()),
                Ok(shown.to_owned())
            );
        }
        for text in [
            "",
            ":9092",
            "a:b",
            "a:70000",
            "::1:9092",
            "[::1",
            "[x]:1",
            "[::1]9092",
            "a b:1",
            "http://a:1",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
        assert!(host_ports(&["SSL://a:1".to_owned()]).is_err());
        for item in [
            "user:hunter2@host:9092",
            "SSL://user:hunter2@host",
            "plaintext://user:hunter2@host",
            "hunter2@[::1]:1",
        ] {
            let refusal = host_ports(&[item.to_owned()]).expect_err("an error");
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
        assert!(host_ports(&["a:0".to_owned()]).is_err());
        assert!(host_ports(&[]).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC*") {
            if let Ok(host) = text.parse::<HostPort>() {
                prop_assert_eq!(host.to_string().parse::<HostPort>(), Ok(host));
            }
        }
    }
}
