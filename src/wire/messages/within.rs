//! A request in some of the versions that the table has of it: where a version means another deed, not another form.

use super::{DecodeError, Field, Reader, Request, Version};

/// `R` in the versions `MIN` to `MAX` alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Within<R, const MIN: i16, const MAX: i16>(R);

impl<R, const MIN: i16, const MAX: i16> Within<R, MIN, MAX> {
    /// Holds it to these versions.
    pub const fn new(request: R) -> Self {
        Self(request)
    }
}

impl<R: Field, const MIN: i16, const MAX: i16> Field for Within<R, MIN, MAX> {
    fn encode(&self, out: &mut Vec<u8>, version: Version) {
        self.0.encode(out, version);
    }

    fn decode(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        R::decode(reader, version).map(Self)
    }
}

impl<R: Request, const MIN: i16, const MAX: i16> Request for Within<R, MIN, MAX> {
    type Response = R::Response;
    const KEY: i16 = R::KEY;
    const NAME: &'static str = R::NAME;
    const MIN_VERSION: i16 = MIN;
    const MAX_VERSION: i16 = MAX;
    const FLEXIBLE_FROM: i16 = R::FLEXIBLE_FROM;
}
