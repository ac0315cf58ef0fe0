//! What stands on a disk: a disk is untrusted like a network, because sectors rot and cables lie.

/// The bytes as each structure of a container in turn.
pub(crate) fn structures(data: &[u8]) {
    keepwatch_store::decode_untrusted(data);
}
