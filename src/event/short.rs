//! Copies of a few bytes, which are most of the work on the path of every event.

/// Appends a short text. The fields of an event are a few bytes each, and a call of `memcpy` for each of them would cost
/// more than the rest of the event (under musl several times as much); copies of a constant size need none. So the front
/// and the back of the text are copied in such pieces, the back over what the front has written too much.
#[inline]
pub fn put(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        0 => {}
        1..4 => text.iter().for_each(|byte| out.push(*byte)),
        4..8 => put_pieces::<4>(out, text),
        8..16 => put_pieces::<8>(out, text),
        16..=32 => put_pieces::<16>(out, text),
        _ => out.extend_from_slice(text),
    }
}

/// Appends a text of `N` to `2 * N` bytes.
#[inline]
fn put_pieces<const N: usize>(out: &mut Vec<u8>, text: &[u8]) {
    if let (Some(front), Some(back)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) {
        let len = out.len();
        out.extend_from_slice(front);
        out.truncate(len + text.len() - N);
        out.extend_from_slice(back);
    }
}

#[cfg(test)]
mod tests {
    use super::put;

    #[test]
    fn texts_of_every_length_come_through() {
        let text: Vec<u8> = (1..=100).collect();
        for length in 0..=text.len() {
            let mut out = b"before".to_vec();
            put(&mut out, &text[..length]);
            assert_eq!(out, [b"before", &text[..length]].concat());
        }
    }
}
