//! The headers that stand before a body, from the broker's side; a client's are rskafka's business.

use super::{DecodeError, Field, Reader, Str, Version, primitives::read_tagged};

/// The old encoding, in which the fields of every request header are written, also of flexible ones (KIP-482).
const OLD: Version = Version {
    number: 0,
    flexible: false,
};

/// What stands before a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API is asked.
    pub api_key: i16,
    /// In which version.
    pub api_version: i16,
    /// What the answer has to repeat.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads the fields that all versions of the header have.
    ///
    /// # Errors
    /// When the bytes end before the header does, or the client id is not UTF-8.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            api_key: i16::decode(reader, OLD)?,
            api_version: i16::decode(reader, OLD)?,
            correlation_id: i32::decode(reader, OLD)?,
            client_id: Option::decode(reader, OLD).map_err(|error| error.within("client_id"))?,
        })
    }

    /// Passes over the tagged fields, with which the header of a flexible version ends.
    ///
    /// # Errors
    /// When the bytes end before the header does.
    pub fn skip_tagged(reader: &mut Reader) -> Result<(), DecodeError> {
        read_tagged(reader, |_, _| Ok(()))
    }
}

/// Writes what stands before a response's body. ApiVersions' is never flexible (KIP-511).
pub fn encode_response_header(correlation_id: i32, flexible: bool, out: &mut Vec<u8>) {
    correlation_id.encode(out, OLD);
    if flexible {
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_flexible_header_ends_behind_its_tagged_fields() {
        let bytes = [
            0, 18, 0, 4, 0, 0, 0, 7, 0, 2, b'm', b'e', 1, 9, 1, 0xff, b'!',
        ];
        let mut reader = Reader::new(Bytes::copy_from_slice(&bytes));
        let header = RequestHeader::decode(&mut reader).unwrap();
        assert_eq!((header.api_key, header.api_version), (18, 4));
        assert_eq!(header.correlation_id, 7);
        assert_eq!(header.client_id.as_deref(), Some("me"));
        RequestHeader::skip_tagged(&mut reader).unwrap();
        assert_eq!(&reader.into_rest()[..], b"!");
    }
}
