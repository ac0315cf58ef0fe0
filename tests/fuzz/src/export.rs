//! What comes back from a picture worker, and archives that somebody hands in to be verified.

/// The bytes as an exported archive.
pub(crate) fn archive(data: &[u8]) {
    keepwatch_app::decode_untrusted_archive(data);
}

/// The bytes as frames between a node and its worker, both ways.
pub(crate) fn picture_frame(data: &[u8]) {
    keepwatch_picture::decode_untrusted(data);
}
