//! Names and numbers that nobody can foretell: of messages, of probes, in logins.

/// Sixteen random bytes.
pub(crate) fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .expect("getrandom(2) gives 16 bytes at any time after the system has started");
    bytes
}

/// A random UUID (RFC 9562 §5.4).
pub(crate) fn uuid() -> String {
    let mut number = u128::from_be_bytes(random());
    number = (number & !(0xF << 76)) | (4 << 76);
    number = (number & !(0b11 << 62)) | (0b10 << 62);
    let digits = format!("{number:032x}");
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_form_of_a_random_uuid_and_differ() {
        let name = uuid();
        assert_eq!(name.len(), 36);
        assert_eq!(name.as_bytes()[14], b'4');
        assert!(matches!(name.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert_ne!(name, uuid());
    }
}
