//! The configuration file: an operator writes it, so it may be anything, and each mistake has a place.

/// The bytes as a whole file.
pub(crate) fn file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let shown = keepwatch_app::decode_untrusted_configuration(text);
    let last = text.lines().count() + 1;
    for line in shown.lines() {
        let Some(place) = line.strip_prefix("keepwatch.toml:") else {
            panic!("a complaint on several lines: {shown:?}")
        };
        // A complaint about the file as a whole has no place.
        if let Some((number, _)) = place.split_once(':')
            && let Ok(number) = number.parse::<usize>()
        {
            assert!((1..=last).contains(&number), "line {number} of {last}: {line}");
        }
    }
}
