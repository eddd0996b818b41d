//! The form of a manifest on disk: one line with what it is and the CRC-32C of the rest; then JSON.
//!
//! A bit that flips in an offset would make doubles without a word, so what does not fit is not believed. Pure.

/// The first line of a manifest with this body.
fn first_line(body: &[u8]) -> String {
    format!("stockflow published {:08x}\n", crc32c::crc32c(body))
}

/// What begins a manifest of the form before this one, which was bare JSON.
const BARE: u8 = b'{';

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::dedup) enum Body<'a> {
    /// As it was written.
    Sealed(&'a [u8]),
    /// Nothing tells whether it is as it was written.
    Bare(&'a [u8]),
}

pub(in crate::dedup) fn seal(body: &[u8]) -> Vec<u8> {
    [first_line(body).as_bytes(), body].concat()
}

/// `None` for what is damaged.
pub(in crate::dedup) fn unseal(bytes: &[u8]) -> Option<Body<'_>> {
    if bytes.first() == Some(&BARE) {
        return Some(Body::Bare(bytes));
    }
    let (line, body) = bytes.split_at_checked(memchr::memchr(b'\n', bytes)? + 1)?;
    (line == first_line(body).as_bytes()).then_some(Body::Sealed(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_noticed() {
        let body = br#"{"version":1,"next":10}"#;
        let sealed = seal(body);
        assert_eq!(unseal(&sealed), Some(Body::Sealed(body)));
        assert_eq!(unseal(body), Some(Body::Bare(body)));
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut bad = sealed.clone();
                bad[at] ^= 1 << bit;
                match unseal(&bad) {
                    None => {}
                    // The first letter became a brace; then the rest is no JSON.
                    Some(Body::Bare(text)) => {
                        assert!(serde_json::from_slice::<serde_json::Value>(text).is_err());
                    }
                    found => panic!("bit {bit} of byte {at}: {found:?}"),
                }
            }
            assert_eq!(unseal(&sealed[..at]), None, "cut at {at}");
        }
    }
}
