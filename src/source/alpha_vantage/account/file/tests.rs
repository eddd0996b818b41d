//! What is kept of a key across processes, and who waits for whom.

use super::super::limits::{Limit, Limits};
use chrono::Utc;

use super::*;

const KEY: &str = "EXAMPLEKEY000001";

fn limits() -> Limits {
    Limits::new(
        1.0,
        Limit::Unlimited,
        Limit::Of(25),
        false,
        chrono_tz::America::New_York,
    )
}

/// Changes what is known, as it stands in the file now.
async fn change<T>(ledger: &mut AccountFile, change: impl FnOnce(&mut KeyState) -> T) -> T {
    ledger.acquire().await;
    let outcome = ledger.update(change);
    ledger.release();
    outcome
}

#[tokio::test]
async fn processes_that_share_a_key_share_its_count() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("state");
    let now = Utc::now();
    let mut first = AccountFile::open(Some(&place), "http://a", KEY);
    let mut second = AccountFile::open(Some(&place), "http://a", KEY);
    for ledger in [&mut first, &mut second] {
        change(ledger, |known| known.spent.spend(&limits(), now)).await;
    }
    assert_eq!(second.known().spent.left_today(&limits(), now), Some(23));
    let again = AccountFile::open(Some(&place), "http://a", KEY);
    assert_eq!(again.known(), second.known());
    for (service, key) in [("http://b", KEY), ("http://a", "another")] {
        assert_eq!(
            AccountFile::open(Some(&place), service, key).known(),
            &KeyState::default()
        );
    }
    for entry in fs::read_dir(&place).expect("a directory") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("UTF-8");
        assert!(
            !text.contains(KEY) && !path.to_string_lossy().contains(KEY),
            "{text}"
        );
    }
}

#[tokio::test]
#[cfg(unix)]
async fn a_pipe_in_place_of_a_file_is_not_waited_for() {
    for extension in ["json", "lock", "json.new"] {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join(file_name("http://a", KEY));
        let pipe = pipe.with_extension(extension);
        rustix::fs::mkfifoat(rustix::fs::CWD, pipe, 0o600.into()).expect("a pipe");
        let mut ledger = AccountFile::open(Some(directory.path()), "http://a", KEY);
        change(&mut ledger, |known| known.paid = true).await;
        assert!(
            ledger.known().paid && ledger.path().is_none(),
            "{extension}"
        );
    }
}

#[tokio::test]
async fn without_a_place_it_lasts_as_long_as_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "x").expect("a file");
    let mut ledger = AccountFile::open(Some(&file.join("below")), "http://a", KEY);
    change(&mut ledger, |known| known.paid = true).await;
    assert!(ledger.known().paid && ledger.path().is_none());
    // A file that is none of ours is begun anew.
    let mut ledger = AccountFile::open(Some(directory.path()), "http://a", KEY);
    fs::write(ledger.path().expect("a path"), "not JSON").expect("a file");
    change(&mut ledger, |known| known.paid = true).await;
    assert!(
        AccountFile::open(Some(directory.path()), "http://a", KEY)
            .known()
            .paid
    );
}

#[tokio::test]
async fn a_lock_that_is_held_is_waited_for_and_can_be_left() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut first = AccountFile::open(Some(directory.path()), "http://a", KEY);
    let mut second = AccountFile::open(Some(directory.path()), "http://a", KEY);
    first.acquire().await;
    let patience = TRY_EVERY * 4;
    let waited = tokio::time::timeout(patience, second.acquire()).await;
    assert!(waited.is_err(), "it is held");
    first.update(|known| known.paid = true);
    first.release();
    second.acquire().await;
    assert!(second.known().paid, "what the other wrote meanwhile counts");
    second.release();
    first.acquire().await;
    second.give_up_the_lock(patience);
    change(&mut second, |known| known.paid = false).await;
    assert!(second.path().is_none() && !second.known().paid);
    assert!(
        read(first.path().expect("a path"))
            .expect("a file")
            .expect("text")
            .paid
    );
}
