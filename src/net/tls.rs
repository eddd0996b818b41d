//! TLS without a line of C: rustls on graviola, trusting the Web PKI's roots and the machine's own.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// The environment's settings for certificates of one's own.
const NAMES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Why TLS is not to be had here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// graviola has no slow path for processors without these.
    #[error(
        "this processor lacks {0}, which TLS needs here; only http:// addresses can be used on it"
    )]
    Processor(String),
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// A client's configuration. The machine's certificates are read only when `native` says so (it takes some files).
pub(crate) fn client_config(native: bool) -> Result<ClientConfig, TlsError> {
    let missing = missing_features();
    if native && !missing.is_empty() {
        return Err(TlsError::Processor(missing.join(", ")));
    }
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if native {
        let found = rustls_native_certs::load_native_certs();
        let named = NAMES.iter().any(|name| std::env::var_os(name).is_some());
        for error in &found.errors {
            if named {
                tracing::warn!(
                    "certificates that are to be trusted ({}) cannot be read: {error}",
                    NAMES.join(", ")
                );
            } else {
                tracing::debug!(%error, "a root certificate of this machine cannot be read");
            }
        }
        roots.add_parsable_certificates(found.certs);
    }
    Ok(
        ClientConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

#[cfg(target_arch = "x86_64")]
fn missing_features() -> Vec<&'static str> {
    [
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("ADX", std::arch::is_x86_feature_detected!("adx")),
        ("BMI2", std::arch::is_x86_feature_detected!("bmi2")),
        ("AES", std::arch::is_x86_feature_detected!("aes")),
        (
            "PCLMULQDQ",
            std::arch::is_x86_feature_detected!("pclmulqdq"),
        ),
    ]
    .into_iter()
    .filter_map(|(name, there)| (!there).then_some(name))
    .collect()
}

#[cfg(target_arch = "aarch64")]
fn missing_features() -> Vec<&'static str> {
    [
        ("NEON", std::arch::is_aarch64_feature_detected!("neon")),
        ("AES", std::arch::is_aarch64_feature_detected!("aes")),
    ]
    .into_iter()
    .filter_map(|(name, there)| (!there).then_some(name))
    .collect()
}
