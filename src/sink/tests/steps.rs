//! What can happen to a consumer that writes, drawn at random.

use proptest::prelude::*;

use super::truth::PARTITIONS;

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
    Close,
    /// The world ends this many changes from now.
    Arm {
        changes: u32,
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
        1 => Just(Step::Close),
        3 => (0..30_u32).prop_map(|changes| Step::Arm { changes }),
    ]
}
