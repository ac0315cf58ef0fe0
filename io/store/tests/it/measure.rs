//! What the store costs; run by hand: `cargo test --release -p keepwatch-store --test it -- --ignored --nocapture measure`.
