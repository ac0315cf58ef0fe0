//! Numbers that nobody can foretell: nonces, session ids, and where RTP's numbers begin.

/// Sixty-four random bits.
pub(crate) fn draw() -> u64 {
    getrandom::u64().expect("getrandom(2) gives 8 bytes at any time after the system has started")
}
