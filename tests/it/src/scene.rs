//! What most tests begin with: virtual cameras, and a node that records all of them.

use anyhow::Result;
use keepwatch_model::WallTime;

use crate::{Cameras, Network, Node, Site};

/// A site on which cameras are recorded. To be taken apart, so that a test names what it works with.
#[derive(Debug)]
pub struct Scene {
    /// Where it is.
    pub site: Site,
    /// The cameras, `cam1` and so on.
    pub cameras: Cameras,
    /// The recorder.
    pub node: Node,
    /// The first label of `cam1` on disk.
    pub from: WallTime,
}

impl Scene {
    /// So many cameras of the usual kind.
    pub fn start(count: usize) -> Result<Self> {
        Self::start_with(count, &[])
    }

    /// The same with more options of `keepwatch lab cameras`.
    pub fn start_with(count: usize, options: &[&str]) -> Result<Self> {
        let site = Site::new()?;
        let cameras = Cameras::start_with(&site, count, "127.0.0.1", options)?;
        let node = Node::recording(&site, &cameras)?;
        let from = node.first_label("cam1")?;
        Ok(Self { site, cameras, node, from })
    }

    /// A camera and a node that listens at `listen`, each at its end of a cable.
    pub fn start_apart(listen: &str) -> Result<(Network, Self)> {
        let site = Site::new()?;
        let network = Network::new(&site)?;
        let cameras = Cameras::start_in(&site, 1, Network::CAMERA, &network.camera)?;
        Node::configure(&site, listen, &[("cam1", cameras.url("cam1"))])?;
        let node = Node::start_in(&site, &network.recorder)?;
        let from = node.first_label("cam1")?;
        Ok((network, Self { site, cameras, node, from }))
    }
}
