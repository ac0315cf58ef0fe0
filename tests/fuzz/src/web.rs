//! What `io/web` reads that somebody may have written on purpose.

/// A line of the audit log, whole and with each of its bytes changed: what passes has not been changed.
pub(crate) fn audit_line(bytes: &[u8]) {
    if !keepwatch_web::decode_untrusted_audit_line(bytes) {
        return;
    }
    let mut changed = bytes.to_vec();
    for place in 0..changed.len().min(4096) {
        if let Some(byte) = changed.get_mut(place) {
            *byte ^= 1;
        }
        assert!(!keepwatch_web::decode_untrusted_audit_line(&changed), "byte {place} was changed");
        if let Some(byte) = changed.get_mut(place) {
            *byte ^= 1;
        }
    }
}
