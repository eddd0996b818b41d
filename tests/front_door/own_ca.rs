//! `produce` against an https:// service whose certificate a CA of one's own signed.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Output,
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
            .args(["--set", "AlphaVantage.MaxRetries=0", "--format", "json"])
            .env("AlphaVantage__ApiKey", "K3YTHATMUSTNOTLEAK");
        command.env("SSL_CERT_FILE", ca);
        let output = command.output().expect("the binary runs");
        assert!(!stderr(&output).contains("K3YTHATMUSTNOTLEAK"));
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
