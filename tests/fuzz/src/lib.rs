//! Fuzz targets: one function for each parser that faces the outside, which must return whatever the bytes are.
//!
//! A target also checks what must hold of the result, such as that framing does not depend on how the bytes were
//! cut. The same functions run in two ways: `cargo xtask fuzz` searches for inputs guided by coverage, and the test
//! in this file replays `corpus/TARGET/*`, which holds captures and every input that ever broke something.

mod configuration;
mod export;
mod media;
mod nodes;
mod onvif;
mod replay;
mod rtsp;
mod settings;
mod store;
mod web;

/// A target by its name, which is also the name of its folder in `corpus`.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("announcement", nodes::announcement),
    ("audit_line", web::audit_line),
    ("auth", rtsp::auth),
    ("configuration", configuration::file),
    ("depacketize", media::depacketize),
    ("depacketize_aac", media::depacketize_aac),
    ("depacketize_h265", media::depacketize_h265),
    ("depacketize_jpeg", media::depacketize_jpeg),
    ("depacketize_metadata", media::depacketize_metadata),
    ("export_archive", export::archive),
    ("fetch", replay::fetch),
    ("h264_sample", media::h264_sample),
    ("node_records", nodes::records),
    ("node_said", nodes::said),
    ("onvif_device", onvif::device),
    ("onvif_discovery", onvif::discovery),
    ("onvif_envelope", onvif::envelope),
    ("onvif_lexical", onvif::lexical),
    ("onvif_metadata", onvif::metadata),
    ("onvif_xml", onvif::xml),
    ("picture_frame", export::picture_frame),
    ("replay_request", replay::request),
    ("reorder", replay::reorder),
    ("rtcp", media::rtcp),
    ("rtp", media::rtp),
    ("rtsp_framing", rtsp::framing),
    ("rtsp_message", rtsp::message),
    ("rtsp_server", rtsp::server),
    ("sdp", rtsp::sdp),
    ("sei", media::sei),
    ("sps", media::sps),
    ("sps265", media::sps265),
    ("settings", settings::document),
    ("store", store::structures),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::panic::catch_unwind;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_target_survives_its_corpus() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        let mut broken = Vec::new();
        for (name, run) in TARGETS {
            let mut inputs = 0;
            for entry in
                std::fs::read_dir(corpus.join(name)).unwrap_or_else(|_| panic!("{name} has no corpus"))
            {
                let path = entry.unwrap().path();
                let input = std::fs::read(&path).unwrap();
                // Most breakage shows on a truncated input: each prefix of a small one is an input of its own.
                let shortest = if input.len() <= 2048 { 0 } else { input.len() };
                for end in shortest..=input.len() {
                    if catch_unwind(|| run(&input[..end])).is_err() {
                        broken.push(format!("{} cut to {end} bytes", path.display()));
                        break;
                    }
                }
                inputs += 1;
            }
            assert!(inputs > 0, "the corpus of {name} is empty");
        }
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    #[test]
    fn every_corpus_has_a_target() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        let folders: BTreeSet<String> = std::fs::read_dir(corpus)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(folders, names);
    }
}
