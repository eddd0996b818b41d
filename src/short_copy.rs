//! Appends short texts without a call of `memcpy`.
//!
//! What is on the path of every event is a few bytes at a time: a field of a row, a value of JSON, a key. A call of
//! `memcpy` for each of them costs more than all the rest (under musl, whose `memcpy` is made for long copies, several
//! times as much), while a copy of a constant size is a load and a store. So the front and the back of a text are copied
//! in such pieces, the back over what the front has written too much.

/// From this length on a call pays.
const LONG: usize = 512;

/// A piece of a longer text.
const PIECE: usize = 32;

/// Appends `text` to `out`.
#[inline]
pub fn put(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        0 => {}
        1..4 => text.iter().for_each(|byte| out.push(*byte)),
        4..8 => ends::<4>(out, text),
        8..16 => ends::<8>(out, text),
        16..32 => ends::<16>(out, text),
        PIECE..LONG => pieces(out, text),
        _ => out.extend_from_slice(text),
    }
}

/// Appends a text of `N` to `2 * N` bytes.
#[inline]
fn ends<const N: usize>(out: &mut Vec<u8>, text: &[u8]) {
    if let (Some(front), Some(back)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) {
        let len = out.len();
        out.extend_from_slice(front);
        out.truncate(len + text.len() - N);
        out.extend_from_slice(back);
    }
}

/// Appends a text of a piece or more.
#[inline]
fn pieces(out: &mut Vec<u8>, text: &[u8]) {
    let Some(back) = text.last_chunk::<PIECE>() else {
        return;
    };
    out.reserve(text.len() + PIECE);
    let end = out.len() + text.len();
    for piece in text.as_chunks::<PIECE>().0 {
        out.extend_from_slice(piece);
    }
    out.truncate(end - PIECE);
    out.extend_from_slice(back);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_length_is_put_whole() {
        let text: Vec<u8> = (0..=255).cycle().take(2 * LONG).collect();
        for length in 0..=text.len() {
            let mut out = b"before,".to_vec();
            put(&mut out, &text[..length]);
            assert_eq!(out, [b"before,", &text[..length]].concat());
        }
    }
}
