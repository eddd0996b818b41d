//! What can happen to a consumer that writes, drawn at random.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::super::{Compression, FileDate, Publish, Roll, Settings};
use super::settings;
use super::truth::{DIRECTORY, PARTITIONS};

/// What is done with files.
#[derive(Clone, Debug)]
pub(super) struct Files {
    roll: Roll,
    publish: Publish,
    compression: Compression,
    file_date: FileDate,
}

impl Files {
    pub(super) const PLAIN: Self = Self {
        roll: Roll {
            bytes: None,
            age: None,
        },
        publish: Publish::Append,
        compression: Compression::None,
        file_date: FileDate::Event,
    };

    pub(super) fn settings(&self) -> Settings {
        Settings {
            roll: self.roll,
            publish: self.publish,
            compression: self.compression,
            file_date: self.file_date,
            ..settings(Path::new(DIRECTORY))
        }
    }

    /// Days of the calendar in parts of so many bytes, and nothing else done with them.
    pub(super) fn parts(bytes: u64) -> Self {
        Self {
            roll: Roll {
                bytes: Some(bytes),
                age: None,
            },
            file_date: FileDate::Processing,
            ..Self::PLAIN
        }
    }

    /// Each form of closed files, by size and by age.
    pub(super) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for publish in [Publish::Append, Publish::Atomic] {
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                for roll in [
                    Roll {
                        bytes: Some(300),
                        age: None,
                    },
                    Roll {
                        bytes: None,
                        age: Some(Duration::from_secs(600)),
                    },
                ] {
                    all.push(Self {
                        roll,
                        publish,
                        compression,
                        ..Self::PLAIN
                    });
                }
            }
        }
        all
    }
}

pub(super) fn files() -> impl Strategy<Value = Files> {
    let bytes = prop_oneof![Just(None), (60..500_u64).prop_map(Some)];
    let age = prop_oneof![
        Just(None),
        (60..2000_u64).prop_map(|s| Some(Duration::from_secs(s)))
    ];
    let publish = prop_oneof![Just(Publish::Append), Just(Publish::Atomic)];
    let compression = prop_oneof![
        Just(Compression::None),
        Just(Compression::Gzip),
        Just(Compression::Zstd)
    ];
    let file_date = prop_oneof![Just(FileDate::Event), Just(FileDate::Processing)];
    (bytes, age, publish, compression, file_date).prop_map(
        |(bytes, age, publish, compression, file_date)| Files {
            roll: Roll { bytes, age },
            publish,
            compression,
            file_date,
        },
    )
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Append {
        partition: i32,
        count: i64,
    },
    Flush,
    /// Which partitions' commits land, which of these the sink is told of, which of the others land late.
    Commit {
        lands: u8,
        told: u8,
        late: u8,
    },
    /// Ask the coordinator, while running.
    Recover,
    /// A partition goes to another member, which reads on; the offsets are asked for before or after it has committed.
    Lose {
        partition: i32,
        count: i64,
        asked_late: bool,
    },
    /// Somebody sets the group's offset of a partition back, while nobody is in the group.
    Reset {
        partition: i32,
        back: i64,
    },
    Kill {
        power: bool,
    },
    /// Time passes, and files are ended and closed.
    Tend {
        minutes: i64,
    },
    /// What is to be compressed is, as far as there is time.
    Pack {
        chunks: u32,
    },
    CloseFiles,
    Close,
    /// The world ends this many changes from now.
    Arm {
        changes: u32,
    },
    /// The disk is full after so many writes more.
    Fill {
        writes: u32,
    },
    /// A sync fails after so many more.
    FailSync {
        syncs: u32,
    },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..PARTITIONS, 1..9_i64).prop_map(|(partition, count)| Step::Append { partition, count }),
        4 => Just(Step::Flush),
        4 => any::<(u8, u8, u8)>().prop_map(|(lands, told, late)| Step::Commit { lands, told, late }),
        2 => Just(Step::Commit { lands: 7, told: 7, late: 0 }),
        1 => Just(Step::Recover),
        1 => (0..PARTITIONS, 0..4_i64, any::<bool>())
            .prop_map(|(partition, count, asked_late)| Step::Lose { partition, count, asked_late }),
        1 => (0..PARTITIONS, 1..20_i64).prop_map(|(partition, back)| Step::Reset { partition, back }),
        1 => any::<bool>().prop_map(|power| Step::Kill { power }),
        3 => prop_oneof![Just(0), 1..20_i64, 200..2000_i64].prop_map(|minutes| Step::Tend { minutes }),
        3 => prop_oneof![0..4_u32, Just(99)].prop_map(|chunks| Step::Pack { chunks }),
        1 => Just(Step::CloseFiles),
        1 => Just(Step::Close),
        3 => (0..30_u32).prop_map(|changes| Step::Arm { changes }),
        2 => (1..30_u32).prop_map(|writes| Step::Fill { writes }),
        2 => (0..20_u32).prop_map(|syncs| Step::FailSync { syncs }),
    ]
}
