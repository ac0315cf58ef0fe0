//! The binary as an operator meets it: its messages, its exit codes, its processes, and what they leave behind.
//!
//! Nothing here sleeps: tests wait for lines, for processes (by pidfd) and for answers.

#![expect(clippy::unwrap_used, reason = "test code")]

mod check;
mod demo;
mod fetch;
mod node;
mod process;
mod scan;
