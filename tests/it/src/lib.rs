//! Driving the real binary from outside: processes, HTTP, cameras, exported files.
//!
//! Nothing of the product's programs is linked in, only its words and formats. A test reads as a script of what an
//! operator does; everything it starts runs in a directory with a space in its name and ends with it. Waiting is
//! polling with a deadline, never a fixed time.

mod bar;
mod cameras;
mod connect;
mod description;
mod disk;
mod http;
mod movie;
mod namespace;
mod node;
mod peer;
mod program;
mod rtsp;
mod scene;
mod site;
mod watched;
mod websocket;

pub use bar::read_bar;
pub use cameras::Cameras;
pub use description::{Description, Route};
pub use disk::{LabDisk, fuse};
pub use http::{Answer, Begun, Http, Place};
pub use movie::{Movie, Picture};
pub use namespace::{Namespace, Network, namespaces};
pub use node::{CoverageLine, Node};
pub use peer::{GstCamera, GstOptions};
pub use program::{Output, Program, processes_with, run, wait_until};
pub use rtsp::{Rtsp, Said};
pub use scene::Scene;
pub use site::Site;
pub use watched::Watched;
pub use websocket::{Received, WebSocket};
