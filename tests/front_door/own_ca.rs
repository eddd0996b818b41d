//! `produce` against an https:// service whose certificate a CA of one's own signed.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Output, Stdio},
    sync::Arc,
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::support::*;

fn tls(name: &str) -> String {
    format!("{}/tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Answers every request with a day of bars, over TLS; the port.
fn serve() -> u16 {
    let certificate = CertificateDer::from_pem_file(tls("localhost.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(tls("localhost.key.pem")).expect("a key");
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a good pair");
    let config = Arc::new(config);
    let body = fs::read(fixture("intraday_ibm_1min.json")).expect("a fixture");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = rustls::StreamOwned::new(connection, socket.expect("a connection"));
            let mut line = String::new();
            let mut reader = BufReader::new(&mut stream);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // Who does not trust us has gone.
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body))
                .and_then(|()| stream.flush());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}

#[test]
fn a_ca_of_ones_own_is_trusted_when_it_is_named() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let port = serve();
    let produce = |ca: &str| -> Output {
        let mut command = bench.command(&["produce", "--symbol", "IBM", "--once"]);
        command
            .args([
                "--set",
                &format!("AlphaVantage.BaseUrl=https://localhost:{port}"),
            ])
            .args(["--set", "AlphaVantage.MaxRetries=0", "--format", "json"]);
        command.env("SSL_CERT_FILE", ca);
        let output = command.finish();
        keep_secret(&output);
        output
    };
    let output = produce(&tls("ca.pem"));
    assert_eq!(last_json(&output)["published"], 100, "{}", stderr(&output));
    // Its own certificate is none of a CA's, and another CA is not there.
    let output = produce("/dev/null");
    assert!(!output.status.success());
    assert_eq!(last_json(&output)["published"], 0, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("certificate"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_proxy_for_https_is_followed_and_sees_no_key() {
    let cluster = embedded();
    let bench = Bench::new(&cluster);
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = proxy.local_addr().expect("an address");
    let mut child = bench
        .command(&["produce", "--symbol", "IBM"])
        .args([
            "--set",
            "AlphaVantage.BaseUrl=https://alpha-vantage.invalid",
        ])
        .env("HTTPS_PROXY", format!("http://{address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let (mut socket, _) = proxy.accept().expect("a connection");
    let mut reader = BufReader::new(socket.try_clone().expect("a handle"));
    let mut asked = String::new();
    while reader.read_line(&mut asked).is_ok_and(|read| read > 2) {}
    assert!(
        asked.starts_with("CONNECT alpha-vantage.invalid:443 HTTP/1.1\r\n") && !asked.contains(KEY),
        "{asked}"
    );
    // From here on the proxy passes bytes on: the first ones are those of a TLS handshake.
    socket
        .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        .expect("it listens");
    let mut first = [0];
    reader.read_exact(&mut first).expect("a handshake");
    assert_eq!(first, [22]);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}
