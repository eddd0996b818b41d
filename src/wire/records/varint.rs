//! Zig-zag variable-length integers as record batches use them
//! ([message format](https://kafka.apache.org/documentation/#messageformat), same encoding as Protocol Buffers').

/// Takes a 32-bit varint off the front of `input`; `None` when it is cut short or longer than 32 bits allow.
#[inline]
pub(super) fn take_i32(input: &mut &[u8]) -> Option<i32> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        *input = rest;
        return Some(unzigzag32(u32::from(first)));
    }
    let value = take_long(input, 5)?;
    u32::try_from(value).ok().map(unzigzag32)
}

/// Takes a 64-bit varint off the front of `input`; `None` when it is cut short or longer than 64 bits allow.
#[inline]
pub(super) fn take_i64(input: &mut &[u8]) -> Option<i64> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        *input = rest;
        return Some(unzigzag64(u64::from(first)));
    }
    take_long(input, 10).map(unzigzag64)
}

#[inline]
fn take_long(input: &mut &[u8], most_bytes: u32) -> Option<u64> {
    let mut value = 0_u64;
    let mut bytes = input.iter();
    for index in 0..most_bytes {
        let byte = *bytes.next()?;
        if index == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *input = bytes.as_slice();
            return Some(value);
        }
    }
    None
}

/// Appends a 32-bit varint.
#[inline]
pub(super) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put_u64(out, u64::from(zigzag32(value)));
}

/// Appends a 64-bit varint.
#[inline]
pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, zigzag64(value));
}

#[inline]
fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`put_i32`] appends.
#[inline]
pub(super) fn len_i32(value: i32) -> usize {
    len_u64(u64::from(zigzag32(value)))
}

/// Bytes that [`put_i64`] appends.
#[inline]
pub(super) fn len_i64(value: i64) -> usize {
    len_u64(zigzag64(value))
}

#[inline]
fn len_u64(value: u64) -> usize {
    // Seven bits a byte; zero still takes one.
    ((64 - (value | 1).leading_zeros()) as usize).div_ceil(7)
}

#[inline]
fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[inline]
fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
fn unzigzag32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

#[inline]
fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_answers() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            put_i32(&mut out, value);
            assert_eq!(out, bytes);
            let mut input = bytes;
            assert_eq!(take_i32(&mut input), Some(value));
        }
    }

    #[test]
    fn refuses_what_is_too_long_or_cut_short() {
        for bytes in [
            &[][..],
            &[0x80],
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        ] {
            let mut input = bytes;
            assert_eq!(take_i32(&mut input), None, "{bytes:?}");
        }
        let mut eleven = &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02][..];
        assert_eq!(take_i64(&mut eleven), None);
    }

    proptest! {
        #[test]
        fn round_trip(value: i64, small: i32) {
            let mut out = Vec::new();
            put_i64(&mut out, value);
            prop_assert_eq!(out.len(), len_i64(value));
            put_i32(&mut out, small);
            prop_assert_eq!(out.len(), len_i64(value) + len_i32(small));
            let mut input = &out[..];
            prop_assert_eq!(take_i64(&mut input), Some(value));
            prop_assert_eq!(take_i32(&mut input), Some(small));
            prop_assert!(input.is_empty());
        }
    }
}
