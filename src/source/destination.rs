//! Where events go, named so that a topic made anew under its name is another one, and so that it does not matter by which
//! brokers its cluster was reached. Pure.

use uuid::Uuid;

/// A topic, as far as the brokers say which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The topic's name.
    pub topic: String,
    /// The topic's own id; brokers before 2.8 have none (KIP-516).
    pub topic_id: Option<Uuid>,
    /// The cluster's own id, where it has one.
    pub cluster_id: Option<String>,
    /// The brokers that were asked first, comma-separated.
    pub bootstrap: String,
}

impl Destination {
    /// The name under which is kept what is known of it.
    pub fn name(&self) -> String {
        let cluster = self.cluster();
        match self.topic_id {
            Some(id) => format!("{} ({id}) of {cluster}", self.topic),
            None => format!("{} of {cluster}", self.topic),
        }
    }

    /// The names that it had when less was known of it.
    pub fn former_names(&self) -> Vec<String> {
        let mut names = vec![
            format!("{} of {}", self.topic, self.bootstrap),
            format!("{} of {}", self.topic, self.cluster()),
        ];
        names.retain(|name| *name != self.name());
        names.dedup();
        names
    }

    fn cluster(&self) -> String {
        match &self.cluster_id {
            Some(id) => format!("cluster {id}"),
            None => self.bootstrap.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trades(topic_id: Option<u128>, cluster_id: Option<&str>, bootstrap: &str) -> Destination {
        Destination {
            topic: "trades".to_owned(),
            topic_id: topic_id.map(Uuid::from_u128),
            cluster_id: cluster_id.map(str::to_owned),
            bootstrap: bootstrap.to_owned(),
        }
    }

    #[test]
    fn a_topic_is_told_by_its_id_and_a_cluster_by_its_own() {
        let known = trades(Some(1), Some("x"), "a:1");
        assert_eq!(known.name(), trades(Some(1), Some("x"), "b:1").name());
        for other in [
            trades(Some(2), Some("x"), "a:1"),
            trades(Some(1), Some("y"), "a:1"),
        ] {
            assert_ne!(known.name(), other.name());
        }
        assert_eq!(
            known.former_names(),
            ["trades of a:1", "trades of cluster x"]
        );
        let named = trades(None, Some("x"), "a:1");
        assert_eq!(named.former_names(), ["trades of a:1"]);
        let unknown = trades(None, None, "a:1");
        assert_eq!(unknown.name(), "trades of a:1");
        assert!(unknown.former_names().is_empty());
    }
}
