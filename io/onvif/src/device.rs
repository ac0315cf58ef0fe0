//! The device side of ONVIF: a camera's or recorder's services for Profile S and Profile G, driven by a trait.

pub mod backend;

pub use backend::Backend;
