//! The recorder role: cameras into the store, coverage and export out of it.

pub mod config;
