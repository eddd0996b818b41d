//! Whether a leader's log and what was read of it have parted (KIP-320), asked of brokers whose Fetch does not say it by
//! itself (before version 12, KIP-595): by OffsetForLeaderEpoch, once for each leader and before anything is read there.

use super::Shared;
use super::subscription::Ask;
use crate::{
    consumer::cursor::{Action, action},
    wire::{
        cluster::Lane,
        connection::Connection,
        error::{CallError, ErrorCode},
        messages::{
            EpochEndOffset, FetchRequest, LeaderEpochEndOffset, OffsetForLeaderEpochRequest,
            OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopic,
        },
    },
};

/// The first version of Fetch that says where branches part.
const SAYS_ITSELF: i16 = 12;

/// Consumers are no replicas.
const NO_REPLICA: i32 = -1;

/// What a leader says of a position.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    /// Its log holds what was read, or it does not know the epoch any more.
    Same,
    /// Its log has parted from what was read, behind this.
    Parted(EpochEndOffset),
    /// It is not the one to ask.
    Ask(ErrorCode),
    /// It will never say it.
    Never(ErrorCode),
}

/// What an answer says of one partition that is read on at `position`. Pure.
fn said(position: i64, answer: &LeaderEpochEndOffset) -> Said {
    if let Err(code) = ErrorCode::check(answer.error_code) {
        return match action(code) {
            Action::Fail => Said::Never(code),
            Action::Refresh | Action::Reset | Action::Suspect => Said::Ask(code),
        };
    }
    match answer.end_offset {
        end if (0..position).contains(&end) => Said::Parted(EpochEndOffset {
            epoch: answer.leader_epoch,
            end_offset: end,
        }),
        _ => Said::Same,
    }
}

/// What is said of the partitions that were asked for: each once, and of no other; `None` when the answer is none to that. Pure.
fn sorted_out<'a>(
    topic: &str,
    asks: &'a [Ask],
    answer: &OffsetForLeaderEpochResponse,
) -> Option<Vec<(&'a Ask, Said)>> {
    let mut left: Vec<&Ask> = asks.iter().collect();
    let mut found = Vec::new();
    for answered in &answer.topics {
        for partition in &answered.partitions {
            let place = left
                .iter()
                .position(|ask| ask.partition == partition.partition);
            let ask = left.swap_remove(place.filter(|_| answered.topic == *topic)?);
            found.push((ask, said(ask.cursor.position(), partition)));
        }
    }
    left.is_empty().then_some(found)
}

/// Whether the broker has to be asked.
fn is_silent(connection: &Connection) -> bool {
    connection
        .version_of::<FetchRequest>()
        .is_none_or(|version| version < SAYS_ITSELF)
}

impl Shared {
    /// Asks whether the leader's log holds what was read before these positions; goes back where it does not.
    pub(super) async fn look_for_branches(&self, node: i32, asks: &[Ask]) {
        let answer = match self.ask_for_branches(node, asks).await {
            Ok(Some(answer)) => answer,
            // It says so itself, or nobody can.
            Ok(None) => {
                let mut subscription = self.subscription.lock();
                asks.iter().for_each(|ask| subscription.proven(node, ask));
                return;
            }
            Err(error) => {
                tracing::debug!(node, "cannot ask where epochs end: {error}");
                self.displace(node, asks);
                return;
            }
        };
        let Some(found) = sorted_out(&self.settings.topic, asks, &answer) else {
            tracing::warn!(
                node,
                "the answer about where epochs end leaves partitions out, or is about others; asking again"
            );
            self.displace(node, asks);
            return;
        };
        for (ask, said) in found {
            let moved = match said {
                Said::Same => {
                    self.subscription.lock().proven(node, ask);
                    None
                }
                Said::Parted(parted) => self.go_back(node, ask, &parted),
                Said::Ask(code) => {
                    tracing::debug!(
                        node,
                        partition = ask.partition,
                        "cannot ask where epochs end: {code}"
                    );
                    self.subscription.lock().displace(node, ask);
                    None
                }
                Said::Never(code) => {
                    tracing::warn!(
                        topic = %self.settings.topic, partition = ask.partition,
                        "OffsetForLeaderEpoch was refused: {code}; whether the log was truncated under this consumer cannot be told"
                    );
                    self.subscription.lock().proven(node, ask);
                    None
                }
            };
            if let Some(moved) = moved {
                self.hand_on(moved).await;
            }
        }
    }

    async fn ask_for_branches(
        &self,
        node: i32,
        asks: &[Ask],
    ) -> Result<Option<OffsetForLeaderEpochResponse>, CallError> {
        let connection = self.cluster.connection(node, Lane::Fetch).await?;
        let has_it = connection.version_of::<OffsetForLeaderEpochRequest>();
        if !is_silent(&connection) || has_it.is_none() {
            return Ok(None);
        }
        let partitions = asks.iter().map(|ask| OffsetForLeaderPartition {
            partition: ask.partition,
            current_leader_epoch: ask.leader_epoch,
            leader_epoch: ask.cursor.leader_epoch().unwrap_or(-1),
        });
        let request = OffsetForLeaderEpochRequest {
            replica_id: NO_REPLICA,
            topics: vec![OffsetForLeaderTopic {
                topic: (&*self.settings.topic).into(),
                partitions: partitions.collect(),
            }],
        };
        let limit = self.cluster.settings().request_timeout;
        connection.request(&request, limit).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{consumer::cursor::Cursor, wire::messages::OffsetForLeaderTopicResult};

    fn ask(partition: i32, position: i64) -> Ask {
        Ask {
            partition,
            cursor: Cursor::at(position, Some(3)),
            leader_epoch: 5,
            near: false,
            unproven: true,
        }
    }

    fn ends(partition: i32, error_code: i16, end_offset: i64) -> LeaderEpochEndOffset {
        LeaderEpochEndOffset {
            error_code,
            partition,
            leader_epoch: 2,
            end_offset,
        }
    }

    #[test]
    fn branches_part_where_the_epoch_ended_before_the_position() {
        let of = |code, end| said(700, &ends(0, code, end));
        let parted = |end_offset| {
            Said::Parted(EpochEndOffset {
                epoch: 2,
                end_offset,
            })
        };
        assert_eq!(of(0, 300), parted(300));
        assert_eq!(of(0, 0), parted(0));
        assert_eq!(of(0, 699), parted(699));
        for end in [700, 900, -1] {
            assert_eq!(of(0, end), Said::Same, "{end}");
        }
        let fenced = ErrorCode::FENCED_LEADER_EPOCH;
        assert_eq!(of(fenced.0, 5), Said::Ask(fenced));
        let denied = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        assert_eq!(of(denied.0, 5), Said::Never(denied));
    }

    #[test]
    fn an_answer_is_about_what_was_asked_for() {
        let asks = [ask(0, 10), ask(1, 10)];
        let answer = |topic: &str, partitions: &[i32]| OffsetForLeaderEpochResponse {
            topics: vec![OffsetForLeaderTopicResult {
                topic: topic.into(),
                partitions: partitions.iter().map(|of| ends(*of, 0, 20)).collect(),
            }],
            ..Default::default()
        };
        let whole = answer("t", &[1, 0]);
        let found = sorted_out("t", &asks, &whole).expect("an answer");
        assert!(found.len() == 2 && found.iter().all(|(_, said)| *said == Said::Same));
        for wrong in [
            answer("t", &[0]),
            answer("t", &[0, 1, 1]),
            answer("t", &[0, 2]),
            answer("u", &[0, 1]),
        ] {
            assert_eq!(sorted_out("t", &asks, &wrong), None, "{wrong:?}");
        }
    }
}
