//! What is edited in the console: a document from the disk, which may be anything.

use keepwatch_settings::{Document, Key};

/// The bytes as a document. One that is read can be written and read again, and no password of it opens by chance.
pub(crate) fn document(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(document) = Document::parse(text) else { return };
    let again = document.write().expect("what was read can be written");
    assert_eq!(Document::parse(&again).expect("what was written can be read"), document);
    let key = Key::new([7; 32]);
    for camera in &document.cameras {
        let opened = camera.password.as_ref().map(|sealed| sealed.open(&key, &camera.object()));
        assert!(opened.is_none_or(|opened| opened.is_err()), "nobody sealed it with this key");
    }
}
