//! Nodes on one PostgreSQL, made as an operator makes them: tables, a key file for all, a configuration each.

use std::sync::Arc;

use postgres_harness::Cluster;

use super::setup::{Setup, Site};
use super::{World, program};

/// A database with a ledger, and what nodes on it have in common.
pub(crate) struct Database {
    pub(crate) cluster: Cluster,
    /// Its name.
    pub(crate) name: String,
    /// How the nodes that are made next reach it.
    pub(crate) url: String,
    setup: Setup,
    first: Option<Arc<Site>>,
}

impl Database {
    /// A database of a server of its own; none where there is no PostgreSQL. The tables are not made.
    pub(crate) fn empty(test: &str, setup: Setup) -> Option<Database> {
        let cluster = Cluster::start(test)?;
        let name = cluster.database(|_| {});
        Some(Database {
            url: cluster.url(&name),
            cluster,
            name,
            setup,
            first: None,
        })
    }

    /// The configuration, the key file and the folder of a node of this name. The first one makes the tables and the keys; all
    /// have the same issuer.
    pub(crate) async fn site(&mut self, name: &str) -> Arc<Site> {
        let setup = self.setup.clone().postgres(name, &self.url);
        let site = match &self.first {
            None => setup.prepare().await,
            Some(first) => setup.prepare_beside(first),
        };
        let site = Arc::new(site);
        let (config, keys) = (site.config(), site.key_file());
        match &self.first {
            None => {
                program(&["ledger", "migrate", "--config", config.to_str().unwrap()]);
                program(&["keys", "new", keys.to_str().unwrap()]);
                self.first = Some(site.clone());
            }
            Some(first) => {
                std::fs::copy(first.key_file(), keys).unwrap();
            }
        }
        site
    }

    /// A running node of this name, with its links up.
    pub(crate) async fn node(&mut self, name: &str) -> World {
        let site = self.site(name).await;
        let node = site.node();
        let world = World { site, node };
        world.links_up().await;
        world
    }
}
