//! Answers that decide what cannot be undone are asked for more than once: a bit that flips on the way, where no checksum
//! covers it, would make a wrong start look right for ever.

use std::{collections::BTreeMap, future::Future};

/// After how many answers that differ from those before the last one counts: what moves that fast is moved by somebody.
const MOST_ANSWERS: usize = 20;

/// Asks about each of `keys` until two answers in a row say the same of it. `ask` is given those that are left.
///
/// # Errors
/// Those of the question.
pub async fn twice<K, V, E, F>(
    keys: Vec<K>,
    mut ask: impl FnMut(Vec<K>) -> F,
) -> Result<BTreeMap<K, V>, E>
where
    K: Ord + Clone,
    V: PartialEq,
    F: Future<Output = Result<BTreeMap<K, V>, E>>,
{
    let mut settled = BTreeMap::new();
    let mut before = ask(keys.clone()).await?;
    let mut left = keys;
    for round in 0..MOST_ANSWERS {
        let mut again = ask(left.clone()).await?;
        let is_last = round + 1 == MOST_ANSWERS;
        left.retain(|key| {
            let differs = before.get(key) != again.get(key);
            if !differs || is_last {
                settled.extend(again.remove_entry(key));
            }
            differs
        });
        if left.is_empty() || is_last {
            break;
        }
        before = again;
    }
    Ok(settled)
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
        let script = [(7, 1), (1, 1), (7, 5), (2, 5), (2, 5), (7, 7)];
        let mut script = script.into_iter();
        let mut asked = Vec::new();
        let found = twice(vec!['a', 'b'], |left| {
            asked.push(left.len());
            let (a, b) = script.next().expect("an answer");
            let mut answer = BTreeMap::from([('a', a), ('b', b)]);
            answer.retain(|key, _| left.contains(key));
            ready(Ok::<_, Infallible>(answer))
        });
        assert_eq!(found.await, Ok([('a', 2), ('b', 1)].into()));
        assert_eq!(asked, [2, 2, 1, 1, 1], "nothing is asked for beyond that");
    }

    #[tokio::test]
    async fn what_moves_all_the_time_is_not_asked_for_for_ever() {
        let mut answers = 0..;
        let found = twice(vec![3], |_| {
            ready(Ok::<_, Infallible>([(3, answers.next())].into()))
        });
        assert_eq!(found.await, Ok([(3, Some(MOST_ANSWERS))].into()));
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
