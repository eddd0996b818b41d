//! The sink from its front door: on a simulated disk that ends the world at any step, and on the real one.

mod alive;
mod closing;
mod desk;
mod disk;
mod edits;
mod going_back;
mod jumps;
mod letters;
mod model;
mod replay;
mod steps;
mod truth;
mod world;

use super::{BadRecords, Binding, Column, Compression, FileDate, Publish, Roll, Settings};

/// Settings whose rows say which record they are.
pub(super) fn settings(directory: &std::path::Path) -> Settings {
    Settings {
        directory: directory.to_owned(),
        columns: [&Column::DEFAULT[..], &[Column::Partition, Column::Offset]].concat(),
        file_date: FileDate::Event,
        instance: None,
        max_open_files: 2,
        bad_records: BadRecords::DeadLetter,
        roll: Roll::default(),
        publish: Publish::Append,
        compression: Compression::None,
    }
}

fn binding() -> Binding {
    Binding {
        cluster_id: "cluster".to_owned(),
        topic: "trades".to_owned(),
        topic_id: Some(uuid::Uuid::from_u128(1)),
        group: "group".to_owned(),
    }
}
