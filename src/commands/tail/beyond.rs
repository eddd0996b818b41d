//! An offset to begin at that lies beyond the end: what is said of it. Pure.

use std::collections::BTreeMap;

/// How many partitions are named at most.
const NAMED: usize = 5;

/// What is to be said of a place to begin at that some partitions do not reach; `ends` are where these end. An offset that
/// is the end is where the next record goes.
pub(super) fn beyond(offset: i64, ends: &BTreeMap<i32, i64>) -> Option<String> {
    let short: Vec<String> = ends
        .iter()
        .filter(|(_, end)| offset > **end)
        .map(|(partition, end)| format!("partition {partition} ends at offset {end}"))
        .collect();
    if short.is_empty() {
        return None;
    }
    let shown = short.get(..NAMED.min(short.len())).unwrap_or_default();
    let more = match short.len() - shown.len() {
        0 => String::new(),
        more => format!(", and {more} more end before it"),
    };
    Some(format!(
        "offset {offset} (--from) is beyond the end: {}{more}; there is nothing to show of these until new records come",
        shown.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_beyond_the_end_is_said_with_the_ends() {
        let ends = |ends: &[i64]| (0..).zip(ends.iter().copied()).collect();
        assert_eq!(beyond(25, &ends(&[25, 30])), None);
        let said = beyond(26, &ends(&[25, 30])).expect("words");
        assert!(
            said.starts_with(
                "offset 26 (--from) is beyond the end: partition 0 ends at offset 25;"
            ),
            "{said}"
        );
        let said = beyond(9, &ends(&[1; 8])).expect("words");
        assert!(
            said.contains("partition 4 ends at offset 1, and 3 more end before it"),
            "{said}"
        );
    }
}
