use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Element, XmlError> {
    Element::parse(text.as_bytes())
}

#[test]
fn prefixes_are_resolved_where_they_are_in_force() {
    let root = parse(
        "<a:r xmlns:a='urn:a' xmlns='urn:d'><x/><a:y xmlns:a='urn:b'><a:z/></a:y><a:w/><q:v/><u xmlns=''/></a:r>",
    );
    let root = root.unwrap();
    let namespace = |path: &[&str]| root.at(path).unwrap().namespace.as_deref().map(str::to_owned);
    assert_eq!(root.namespace.as_deref(), Some("urn:a"));
    assert_eq!(namespace(&["x"]).as_deref(), Some("urn:d"));
    assert_eq!(namespace(&["y", "z"]).as_deref(), Some("urn:b"));
    assert_eq!(namespace(&["w"]).as_deref(), Some("urn:a"));
    assert_eq!(namespace(&["v"]), None);
    assert_eq!(namespace(&["u"]), None);
    assert!(root.is("urn:a", "r") && !root.is("urn:b", "r"));
    assert!(root.at(&["u"]).unwrap().is("urn:anything", "u"));
}

#[test]
fn prefixes_of_names_in_a_text_are_resolved_where_it_stands() {
    let root = parse(
        "<r xmlns:a='urn:a'><x xmlns:b='urn:b'>a:One b:Two c:Three Four http://b:80/</x><y xmlns:a='urn:c'>b:Two a:One</y></r>",
    );
    let root = root.unwrap();
    let [x, y] = &root.children[..] else { panic!("{root:?}") };
    let names = ["a:One", "b:Two", "c:Three", "Four", "http://b:80/"];
    assert_eq!(names.map(|name| x.namespace_of(name)), [Some("urn:a"), Some("urn:b"), None, None, None]);
    assert_eq!(names.map(|name| y.namespace_of(name)), [Some("urn:c"), None, None, None, None]);
}

#[test]
fn text_is_joined_trimmed_and_unescaped() {
    let root =
        parse("<r a='1 &lt; 2' b=\"x&#x20;y\">\n a &amp; <!-- no -->b<i/>&#x1F600;<![CDATA[ <c> ]]>\n</r>")
            .unwrap();
    assert_eq!(root.text, "a & b\u{1F600} <c>");
    assert_eq!(root.attribute("a"), Some("1 < 2"));
    assert_eq!(root.attribute("b"), Some("x y"));
}

/// Snapshot addresses with a bare `&` between parameters come from several makers.
#[test]
fn a_bare_ampersand_stands_for_itself() {
    let root = parse("<r u='http://a/?b=1&c=2'>http://a/?b=1&c=2&d;e=3</r>").unwrap();
    assert_eq!(root.text, "http://a/?b=1&c=2&d;e=3");
    assert_eq!(root.attribute("u"), Some("http://a/?b=1&c=2"));
}

#[test]
fn bytes_that_are_no_utf_8_cost_only_themselves() {
    let root = Element::parse(b"\xEF\xBB\xBF<?xml version='1.0'?><r><n>Caf\xE9</n><m>1</m></r>\0\0").unwrap();
    assert_eq!(root.text_at(&["n"]), Some("Caf\u{FFFD}"));
    assert_eq!(root.text_at(&["m"]), Some("1"));
}

#[test]
fn a_bomb_of_entities_is_refused() {
    let bomb = "<!DOCTYPE b [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]><r>&b;</r>";
    assert_eq!(parse(bomb), Err(XmlError::DocumentType));
    assert_eq!(parse("<!DOCTYPE r SYSTEM 'file:///etc/passwd'><r/>"), Err(XmlError::DocumentType));
}

#[test]
fn every_limit_holds() {
    let too_much = |text: &str, limits: &Limits| match Element::parse_within(text.as_bytes(), limits) {
        Err(XmlError::TooMuch { what, .. }) => Some(what),
        _ => None,
    };
    let limits = Limits { bytes: 200, depth: 3, elements: 5, attributes: 2 };
    assert_eq!(too_much("<a><b><c/></b></a>", &limits), None);
    assert_eq!(too_much("<a><b><c><d/></c></b></a>", &limits), Some("elements inside one another"));
    assert_eq!(too_much("<a><b/><b/><b/><b/></a>", &limits), None);
    assert_eq!(too_much("<a><b/><b/><b/><b/><b/></a>", &limits), Some("elements"));
    assert_eq!(too_much("<a b='' c=''/>", &limits), None);
    assert_eq!(too_much("<a b='' c='' d=''/>", &limits), Some("attributes in an element"));
    assert_eq!(too_much(&format!("<a>{}</a>", "x".repeat(200)), &limits), Some("bytes"));
    let declarations: String = (0..60).map(|number| format!(" xmlns:p{number}='u'")).collect();
    let nested: String = (0..6).map(|_| format!("<a{declarations}>")).collect();
    assert_eq!(too_much(&nested, &Limits::DEFAULT), Some("namespaces in force"));
}

#[test]
fn what_is_not_well_formed_is_an_error() {
    for text in
        ["", "x", "<a>", "<a></b>", "<a b></a>", "<a>&#0;</a>", "<a>&#xFFFFFF;</a>", "</a>", "<a", "<!--"]
    {
        assert!(parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(text in "\\PC*", value in "[\\t\\n\\r -\u{2000}]*") {
        let mut writer = Writer::new();
        writer.element("r", &[("a", &value)], |writer| {
            writer.leaf("t", &text);
            writer.empty("e", &[]);
        });
        let root = parse(&writer.document()).unwrap();
        let allowed = |text: &str| text.chars().filter(|c| !matches!(c, '\u{FFFE}' | '\u{FFFF}')).collect::<String>();
        prop_assert_eq!(root.attribute("a"), Some(&*value));
        let expected = allowed(&text);
        prop_assert_eq!(&root.child("t").unwrap().text, expected.trim());
        prop_assert!(root.child("e").is_some());
    }

    #[test]
    fn no_bytes_break_the_reader(document in prop::collection::vec(any::<u8>(), 0..200), text in "[<>/&;#xa='! \\[\\]-]*") {
        let _ = Element::parse(&document);
        let _ = parse(&text);
    }
}
