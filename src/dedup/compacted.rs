//! Whether a topic can tell what was published to it.

use crate::wire::{
    cluster::{Cluster, ClusterError},
    error::{CallError, ErrorCode},
    messages::{DescribeConfigsRequest, DescribeConfigsResource},
};

/// Resource type of a topic in DescribeConfigs.
const TOPIC_RESOURCE: i8 = 2;

/// Why nothing is published to a topic that is compacted, as long as published ids are looked up.
pub(crate) fn refusal(topic: &str) -> String {
    format!(
        "topic {topic} (Kafka.Topic) is compacted (cleanup.policy): Kafka removes all but the newest event of a symbol from it, so what was published cannot be told; name another topic, or publish without looking (--republish)"
    )
}

/// Whether the topic's old records are removed for the sake of newer ones with the same key. Brokers that do not tell,
/// or may not, count as no.
pub(crate) async fn is_compacted(cluster: &Cluster, topic: &str) -> Result<bool, ClusterError> {
    const POLICY: &str = "cleanup.policy";
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: topic.into(),
            configuration_keys: Some(vec![POLICY.into()]),
        }],
        ..Default::default()
    };
    let answer = match cluster.request_any(&request).await {
        Ok(answer) => answer,
        Err(CallError::Unsupported { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    for result in &answer.results {
        if let Err(code) = ErrorCode::check(result.error_code) {
            tracing::debug!(topic, %code, "cannot learn whether the topic is compacted");
        }
    }
    Ok(answer
        .results
        .iter()
        .flat_map(|result| &result.configs)
        .filter(|config| &*config.name == POLICY)
        .filter_map(|config| config.value.as_deref())
        .any(|policy| policy.contains("compact")))
}
