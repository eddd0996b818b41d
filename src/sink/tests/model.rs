//! The promise itself: whatever happens between a topic, a group coordinator and a directory, at the end the directory
//! holds each record exactly once.
//!
//! The model of the coordinator keeps offset and metadata by partition. Commits land, are lost, land for some
//! partitions only, or land late (but before their sender has been fenced); other members take partitions over, with
//! the outcome of a commit known or not. The process is killed, or loses power, at any step of any operation.

use proptest::prelude::*;

use super::super::{Committed, Verdict};
use super::steps::{Files, Step, files, step};
use super::world::World;

proptest! {
    #![proptest_config(ProptestConfig {
        // More, when PROPTEST_CASES says so.
        cases: ProptestConfig::default().cases.max(1500),
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_record_is_there_exactly_once(
        seed in any::<u64>(),
        power in any::<bool>(),
        rearm in prop::collection::vec(0..40_u32, 0..4),
        files in files(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(seed, rearm, power, &files);
        for step in &steps {
            world.step(step);
        }
        world.finish();
    }
}

/// The end of the world at each step of the first batches, where everything is made for the first time.
#[test]
fn the_first_batches_end_at_any_step() {
    for seed in 0..8 {
        for changes in 0..45 {
            let mut world = World::new(seed, vec![changes / 3], seed % 4 != 0, &Files::PLAIN);
            world.step(&Step::Arm { changes });
            for (partition, lands) in [(0, 7), (1, 7), (2, 2)] {
                world.step(&Step::Append {
                    partition,
                    count: 7,
                });
                world.step(&Step::Append {
                    partition: 1,
                    count: 3,
                });
                world.step(&Step::Flush);
                world.step(&Step::Commit {
                    lands,
                    told: 1,
                    late: 0,
                });
                world.step(&Step::Recover);
            }
            world.finish();
        }
    }
}

/// A commit that counts on one of two partitions whose rows interleave costs the other's rows and nothing else.
#[test]
fn a_commit_that_counts_in_part_is_taken_apart() {
    for power in [false, true] {
        for changes in 0..60 {
            let mut world = World::new(u64::from(changes), vec![changes], power, &Files::PLAIN);
            for partition in [0, 1, 0, 1, 0] {
                world.step(&Step::Append {
                    partition,
                    count: 6,
                });
            }
            world.step(&Step::Flush);
            world.step(&Step::Commit {
                lands: 1,
                told: 0,
                late: 0,
            });
            world.step(&Step::Kill { power });
            world.finish();
        }
    }
}

/// Somebody else moved the offset while the outcome of a commit was unknown: the rows are kept aside.
#[test]
fn rows_that_nobody_can_judge_are_set_aside() {
    let mut world = World::new(7, Vec::new(), false, &Files::PLAIN);
    world.step(&Step::Append {
        partition: 0,
        count: 8,
    });
    world.step(&Step::Flush);
    world.step(&Step::Commit {
        lands: 1,
        told: 0,
        late: 0,
    });
    let metadata = String::new();
    world.coordinator.insert(
        0,
        Committed {
            offset: Some(20),
            leader_epoch: None,
            metadata,
        },
    );
    let recovery = world.recover().unwrap();
    assert_eq!(recovery.verdicts, [(0, Verdict::Undecided)].into());
    assert!(
        world
            .fs
            .files()
            .keys()
            .any(|path| path.starts_with("/out/.stockflow/undecided"))
    );
}

/// The end of the world at each step of rolling, publishing and compressing.
#[test]
fn closing_ends_at_any_step() {
    for (seed, files) in (0..).zip(Files::all()) {
        for changes in 0..70 {
            let power = changes % 3 != 0;
            let mut world = World::new(seed, vec![changes / 2, changes / 4], power, &files);
            for partition in [0, 1] {
                world.step(&Step::Append {
                    partition,
                    count: 20,
                });
            }
            world.step(&Step::Flush);
            world.step(&Step::Arm { changes });
            for minutes in [1, 60] {
                world.step(&Step::Commit {
                    lands: 7,
                    told: 7,
                    late: 0,
                });
                world.step(&Step::Tend { minutes });
                world.step(&Step::Pack { chunks: 9 });
                world.step(&Step::Append {
                    partition: 2,
                    count: 9,
                });
            }
            world.finish();
        }
    }
}

/// A closed file that resets empty row by row: the first opens it again, the last leaves nothing of it. The world ends
/// at each step.
#[test]
fn a_closed_file_that_is_emptied_by_several_resets_is_closed_no_more() {
    for (seed, files) in (0..).zip(Files::all()) {
        for changes in 0..90 {
            let power = changes % 3 != 0;
            let mut world = World::new(seed, vec![changes / 2], power, &files);
            world.step(&Step::Append {
                partition: 1,
                count: 5,
            });
            world.step(&Step::Flush);
            world.step(&Step::Commit {
                lands: 7,
                told: 7,
                late: 0,
            });
            world.step(&Step::Tend { minutes: 60 });
            world.step(&Step::CloseFiles);
            world.step(&Step::Arm { changes });
            for _ in 0..5 {
                world.step(&Step::Reset {
                    partition: 1,
                    back: 1,
                });
            }
            world.finish();
        }
    }
}

/// Publishing is stopped before its names are durable, the next start goes by them, and then power is lost.
#[test]
fn names_that_a_start_goes_by_outlive_a_loss_of_power() {
    for (seed, files) in (0..).zip(Files::all()) {
        for changes in 0..30 {
            let mut world = World::new(seed, Vec::new(), false, &files);
            world.step(&Step::Append {
                partition: 1,
                count: 20,
            });
            world.step(&Step::Flush);
            world.step(&Step::Commit {
                lands: 7,
                told: 7,
                late: 0,
            });
            world.step(&Step::Arm { changes });
            world.step(&Step::CloseFiles);
            world.step(&Step::Close);
            world.step(&Step::Kill { power: true });
            world.finish();
        }
    }
}

/// A process is killed while it cuts back what another had appended, and the cut is not durable. The next finds the
/// length right, closes the file or ends in peace, and then power is lost.
#[test]
fn a_length_that_a_start_goes_by_outlives_a_loss_of_power() {
    let files = Files::parts(171);
    for seed in 0..4 {
        for appending in 0..30 {
            for cutting in 0..9 {
                let mut world = World::new(seed, vec![cutting, appending], false, &files);
                world.step(&Step::Append {
                    partition: 1,
                    count: 2,
                });
                world.step(&Step::Flush);
                world.step(&Step::Commit {
                    lands: 0,
                    told: 0,
                    late: 7,
                });
                world.step(&Step::Kill { power: false });
                world.step(&Step::Append {
                    partition: 0,
                    count: 2,
                });
                world.step(&Step::Tend { minutes: 0 });
                world.step(&Step::Tend { minutes: 0 });
                if seed % 2 == 1 {
                    world.step(&Step::Close);
                }
                world.step(&Step::Kill { power: true });
                world.finish();
            }
        }
    }
}

/// A sync that fails leaves bytes behind that no later one writes: whoever goes on must write them again. Then power is
/// lost, and everything that was told as durable is there.
#[test]
fn a_sync_that_fails_once_is_never_taken_for_done() {
    for (seed, files) in (0_u32..).zip(Files::all().into_iter().chain([Files::PLAIN])) {
        for syncs in (seed % 3..40).step_by(3) {
            let mut world = World::new(u64::from(seed), Vec::new(), true, &files);
            world.step(&Step::FailSync { syncs });
            for partition in [0, 1, 0, 2, 1] {
                world.step(&Step::Append {
                    partition,
                    count: 8,
                });
                world.step(&Step::Flush);
                world.step(&Step::Commit {
                    lands: 7,
                    told: 7,
                    late: 0,
                });
                world.step(&Step::Tend { minutes: 15 });
                world.step(&Step::Pack { chunks: 99 });
            }
            world.step(&Step::Kill { power: true });
            world.finish();
        }
    }
}
