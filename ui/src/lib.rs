//! The web console as a table of files: what a browser loads from `/` and `/assets/...`.
//!
//! The files are built by Vite from the TypeScript and Svelte sources beside this file, committed in `dist/`, and
//! compiled in. Nothing here serves them: the HTTP server asks [`find`] with the path of a request. None of them
//! is secret, and none needs a login; what they show comes from the API, which asks for one.

/// One file of the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asset {
    /// Its path in the address, such as `/` or `/assets/index-B5nC2x1q.js`.
    pub path: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
    /// Its media type, for `Content-Type`.
    pub media_type: &'static str,
    /// A strong entity tag (RFC 9110 §8.8.3), with its quotes.
    pub etag: &'static str,
    /// Whether another content would have another path, so that browsers may keep it for ever.
    pub immutable: bool,
}

static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Returns all files of the console.
#[must_use]
pub fn assets() -> &'static [Asset] {
    ASSETS
}

/// Returns the file at `path`; `None` when there is none, and then the server answers 404.
#[must_use]
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(asset: &Asset) -> &'static str {
        str::from_utf8(asset.bytes).unwrap()
    }

    #[test]
    fn the_page_loads_only_files_that_are_in_the_table() {
        let page = find("/").expect("dist/index.html");
        assert!(!page.immutable, "the page names the files of its build, so it is asked for each time");
        let named: Vec<&str> = text(page)
            .split(['"', '\''])
            .filter(|word| word.starts_with("/assets/") || word.starts_with("./assets/"))
            .collect();
        assert!(named.len() >= 2, "script and style: {named:?}");
        for path in named {
            let asset = find(path.trim_start_matches('.')).expect(path);
            assert!(asset.immutable);
        }
    }

    #[test]
    fn nothing_in_the_page_needs_more_than_a_strict_content_security_policy() {
        let page = text(find("/").expect("dist/index.html"));
        assert!(!page.contains("<style") && !page.contains("style="), "inline styles");
        for script in page.split("<script").skip(1) {
            assert!(script.starts_with(" type=\"module\"") && script.contains("src="), "an inline script");
        }
        assert!(!page.contains("http:") && !page.contains("https:"), "the page names another server");
    }

    #[test]
    fn entity_tags_are_quoted_and_differ() {
        let mut tags: Vec<&str> = assets().iter().map(|asset| asset.etag).collect();
        assert!(tags.iter().all(|tag| tag.len() == 18 && tag.starts_with('"') && tag.ends_with('"')));
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), assets().len());
    }

    #[test]
    fn a_path_outside_of_the_table_finds_nothing() {
        for path in ["", "/index.html", "/assets/", "/assets/../index.html", "//", "/live"] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
