//! Answers that decide what cannot be undone are asked for more than once: a bit that flips on the way, where no checksum
//! covers it, would make a wrong start look right for ever.

use std::{collections::BTreeMap, future::Future};

/// Asks until two answers in a row are the same.
///
/// # Errors
/// Those of the question.
pub async fn twice<T: PartialEq, E, F>(mut ask: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut last = ask().await?;
    loop {
        let next = ask().await?;
        if next == last {
            return Ok(next);
        }
        last = next;
    }
}

/// Asks for offsets that may move meanwhile: twice, and where two answers differ a third time; then it is the one in the
/// middle.
///
/// # Errors
/// Those of the question.
pub async fn offsets<E, F>(mut ask: impl FnMut() -> F) -> Result<BTreeMap<i32, i64>, E>
where
    F: Future<Output = Result<BTreeMap<i32, i64>, E>>,
{
    let (first, second) = (ask().await?, ask().await?);
    if first == second {
        return Ok(first);
    }
    let third = ask().await?;
    Ok(middle([first, second, third]))
}

/// The middle one of three offsets of each partition. Pure.
fn middle(answers: [BTreeMap<i32, i64>; 3]) -> BTreeMap<i32, i64> {
    let mut of_each: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (partition, offset) in answers.into_iter().flatten() {
        of_each.entry(partition).or_default().push(offset);
    }
    let middle = of_each.into_iter().filter_map(|(partition, mut of)| {
        of.sort_unstable();
        Some((partition, *of.get(of.len() / 2)?))
    });
    middle.collect()
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::ready};

    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn what_is_said_once_does_not_count() {
        let mut script = [7, 1, 7, 2, 2, 7].into_iter();
        let asked = twice(|| ready(Ok::<_, Infallible>(script.next())));
        assert_eq!(asked.await, Ok(Some(2)));
        assert_eq!(script.next(), Some(7), "nothing is asked for beyond that");
    }

    proptest! {
        /// Whatever one of the answers says, what counts is what one of the others says, or lies between them.
        #[test]
        fn one_wrong_answer_decides_nothing(end in 0..1_000_i64, more in 0..10_i64, wrong: i64, at in 0..3_usize) {
            let mut script = vec![end, end + more];
            script.insert(at, wrong);
            let mut script = script.into_iter().map(|offset| Ok::<_, Infallible>([(3, offset)].into()));
            let asked = offsets(|| ready(script.next().expect("three answers at most")));
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let Ok(found) = runtime.block_on(asked);
            prop_assert!((end..=end + more).contains(&found[&3]), "{found:?}");
        }
    }
}
