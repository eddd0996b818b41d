//! Kafka's primitive types and how they are read and written, in the old and the flexible encoding (KIP-482).

use bytes::{Buf, Bytes};
use uuid::Uuid;

/// A UTF-8 string that is a view of the buffer it was received in.
pub type Str = bytestring::ByteString;

/// The version of an API in which a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The API version.
    pub number: i16,
    /// Whether lengths are compact and structs end in tagged fields (KIP-482).
    pub flexible: bool,
}

/// Why bytes are not the message they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A length or count is larger than what is left of the message.
    #[error("{field} wants {wanted} bytes or items where {left} bytes are left")]
    TooShort {
        /// The field's path, as far as it is known.
        field: &'static str,
        /// What the length said.
        wanted: u64,
        /// What remains.
        left: usize,
    },
    /// A negative length where null is not allowed, or one below -1.
    #[error("{field} has the length {length}")]
    BadLength {
        /// The field's path, as far as it is known.
        field: &'static str,
        /// What the length said.
        length: i64,
    },
    /// A variable-length integer of more than its five bytes.
    #[error("{field} is not a variable-length integer")]
    BadVarint {
        /// The field's path, as far as it is known.
        field: &'static str,
    },
    /// A string that is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotUtf8 {
        /// The field's path, as far as it is known.
        field: &'static str,
    },
    /// The message goes on where its version ends.
    #[error("{left} bytes are left over")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
}

impl DecodeError {
    /// Names the innermost field that could not be read.
    pub(super) fn within(mut self, name: &'static str) -> Self {
        match &mut self {
            Self::TooShort { field, .. }
            | Self::BadLength { field, .. }
            | Self::BadVarint { field }
            | Self::NotUtf8 { field } => {
                if field.is_empty() {
                    *field = name;
                }
            }
            Self::TrailingBytes { .. } => {}
        }
        self
    }
}

/// What is left of a received message.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// What is left, as a view.
    pub fn into_rest(self) -> Bytes {
        self.bytes
    }

    fn need(&self, wanted: usize) -> Result<(), DecodeError> {
        if wanted <= self.bytes.len() {
            Ok(())
        } else {
            Err(DecodeError::TooShort {
                field: "",
                wanted: wanted as u64,
                left: self.bytes.len(),
            })
        }
    }

    /// The next `length` bytes, as a view.
    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.need(length)?;
        Ok(self.bytes.split_to(length))
    }

    /// An unsigned LEB128 integer of at most 32 bits.
    fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            self.need(1)?;
            let byte = self.bytes.get_u8();
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::BadVarint { field: "" })
    }

    /// A length before bytes, a string or an array; `None` is null. `wide` is for all but old strings.
    fn length(&mut self, version: Version, wide: bool) -> Result<Option<usize>, DecodeError> {
        let length = if version.flexible {
            i64::from(self.varint()?) - 1
        } else if wide {
            i64::from(i32::decode(self, version)?)
        } else {
            i64::from(i16::decode(self, version)?)
        };
        match length {
            -1 => Ok(None),
            length if length < -1 => Err(DecodeError::BadLength { field: "", length }),
            // An item is at least one byte long, so this bounds arrays too.
            length => {
                let length = length as usize;
                self.need(length)?;
                Ok(Some(length))
            }
        }
    }
}

fn write_varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a length; `None` is null. Lengths beyond the protocol's are cut off by the frame's own limit long before.
fn write_length(length: Option<usize>, version: Version, wide: bool, out: &mut Vec<u8>) {
    if version.flexible {
        write_varint(
            length.map_or(0, |length| {
                u32::try_from(length).map_or(u32::MAX, |length| length.saturating_add(1))
            }),
            out,
        );
    } else if wide {
        let length = length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX));
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        let length = length.map_or(-1, |length| i16::try_from(length).unwrap_or(i16::MAX));
        out.extend_from_slice(&length.to_be_bytes());
    }
}

/// Anything that stands in a message.
pub trait Field: Sized {
    /// Appends the value in the given version.
    fn encode(&self, out: &mut Vec<u8>, version: Version);
    /// Reads the value in the given version.
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, DecodeError>;
}

macro_rules! fixed_size {
    ($($type:ty),*) => { $(
        impl Field for $type {
            fn encode(&self, out: &mut Vec<u8>, _version: Version) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn decode(reader: &mut Reader, _version: Version) -> Result<Self, DecodeError> {
                let mut bytes = [0; size_of::<$type>()];
                reader.need(bytes.len())?;
                reader.bytes.copy_to_slice(&mut bytes);
                Ok(<$type>::from_be_bytes(bytes))
            }
        }
    )* };
}
fixed_size!(i8, i16, u16, i32, i64);

impl Field for bool {
    fn encode(&self, out: &mut Vec<u8>, _version: Version) {
        out.push(u8::from(*self));
    }
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        Ok(i8::decode(reader, version)? != 0)
    }
}

impl Field for Uuid {
    fn encode(&self, out: &mut Vec<u8>, _version: Version) {
        out.extend_from_slice(self.as_bytes());
    }
    fn decode(reader: &mut Reader, _version: Version) -> Result<Self, DecodeError> {
        let mut bytes = [0; 16];
        reader.need(bytes.len())?;
        reader.bytes.copy_to_slice(&mut bytes);
        Ok(Self::from_bytes(bytes))
    }
}

/// A value with a length before it, which can say null.
trait LengthPrefixed: Sized {
    /// Whether the old encoding's length has four bytes.
    const WIDE: bool;
    fn length(&self) -> usize;
    fn encode_body(&self, out: &mut Vec<u8>, version: Version);
    fn decode_body(
        reader: &mut Reader,
        length: usize,
        version: Version,
    ) -> Result<Self, DecodeError>;
}

impl LengthPrefixed for Str {
    const WIDE: bool = false;
    fn length(&self) -> usize {
        self.len()
    }
    fn encode_body(&self, out: &mut Vec<u8>, _version: Version) {
        out.extend_from_slice(self.as_bytes());
    }
    fn decode_body(
        reader: &mut Reader,
        length: usize,
        _version: Version,
    ) -> Result<Self, DecodeError> {
        Str::try_from(reader.take(length)?).map_err(|_| DecodeError::NotUtf8 { field: "" })
    }
}

impl LengthPrefixed for Bytes {
    const WIDE: bool = true;
    fn length(&self) -> usize {
        self.len()
    }
    fn encode_body(&self, out: &mut Vec<u8>, _version: Version) {
        out.extend_from_slice(self);
    }
    fn decode_body(
        reader: &mut Reader,
        length: usize,
        _version: Version,
    ) -> Result<Self, DecodeError> {
        reader.take(length)
    }
}

impl<T: Field> LengthPrefixed for Vec<T> {
    const WIDE: bool = true;
    fn length(&self) -> usize {
        self.len()
    }
    fn encode_body(&self, out: &mut Vec<u8>, version: Version) {
        for item in self {
            item.encode(out, version);
        }
    }
    fn decode_body(
        reader: &mut Reader,
        length: usize,
        version: Version,
    ) -> Result<Self, DecodeError> {
        // Not `with_capacity(length)`: an item is larger in memory than on the wire, so memory grows with what was
        // really read.
        let mut items = Self::new();
        for _ in 0..length {
            items.push(T::decode(reader, version)?);
        }
        Ok(items)
    }
}

macro_rules! nullable {
    ($([$($generic:tt)*] $type:ty),*) => { $(
        impl<$($generic)*> Field for $type {
            fn encode(&self, out: &mut Vec<u8>, version: Version) {
                write_length(Some(LengthPrefixed::length(self)), version, <Self as LengthPrefixed>::WIDE, out);
                self.encode_body(out, version);
            }
            fn decode(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
                match reader.length(version, <Self as LengthPrefixed>::WIDE)? {
                    Some(length) => Self::decode_body(reader, length, version),
                    None => Err(DecodeError::BadLength { field: "", length: -1 }),
                }
            }
        }
        impl<$($generic)*> Field for Option<$type> {
            fn encode(&self, out: &mut Vec<u8>, version: Version) {
                match self {
                    Some(value) => value.encode(out, version),
                    None => write_length(None, version, <$type as LengthPrefixed>::WIDE, out),
                }
            }
            fn decode(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
                match reader.length(version, <$type as LengthPrefixed>::WIDE)? {
                    Some(length) => <$type>::decode_body(reader, length, version).map(Some),
                    None => Ok(None),
                }
            }
        }
    )* };
}
nullable!([] Str, [] Bytes, [T: Field] Vec<T>);

/// A struct that may be null: a byte before it says so.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Nullable<T>(pub Option<T>);

impl<T: std::fmt::Debug> std::fmt::Debug for Nullable<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Field> Field for Nullable<T> {
    fn encode(&self, out: &mut Vec<u8>, version: Version) {
        match &self.0 {
            None => (-1i8).encode(out, version),
            Some(value) => {
                1i8.encode(out, version);
                value.encode(out, version);
            }
        }
    }

    fn decode(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        Ok(Self(if i8::decode(reader, version)? < 0 {
            None
        } else {
            Some(T::decode(reader, version)?)
        }))
    }
}

/// The empty value that stands for a missing one in versions without null.
pub(super) fn empty_of<T: Default>(_like: &Option<T>) -> T {
    T::default()
}

/// Whether a tagged field has to be written.
pub(super) fn differs<T: PartialEq>(value: &T, default: T) -> bool {
    *value != default
}

/// Writes a struct's tagged fields, which are in order of their tags.
pub(super) fn write_tagged(tagged: &[(u32, Vec<u8>)], out: &mut Vec<u8>) {
    write_varint(tagged.len() as u32, out);
    for (tag, bytes) in tagged {
        write_varint(*tag, out);
        write_varint(bytes.len() as u32, out);
        out.extend_from_slice(bytes);
    }
}

/// Hands each tagged field to `field` with a reader of its own; what that leaves over is passed over.
pub(super) fn read_tagged(
    reader: &mut Reader,
    mut field: impl FnMut(u32, &mut Reader) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    for _ in 0..reader.varint()? {
        let tag = reader.varint()?;
        let length = reader.varint()? as usize;
        let mut bytes = Reader::new(reader.take(length)?);
        field(tag, &mut bytes)?;
    }
    Ok(())
}
