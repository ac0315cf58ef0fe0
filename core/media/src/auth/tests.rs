use super::*;
use proptest::prelude::*;

fn credentials() -> Credentials {
    Credentials { user: "Mufasa".to_owned(), password: "Circle of Life".to_owned() }
}

/// The example of RFC 7616 §3.9.1.
#[test]
fn the_examples_of_rfc_7616_come_out() {
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let header = format!(
            r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
        );
        let challenge = Challenge::strongest([header.as_str()]).unwrap();
        let answer = challenge.answer(
            &credentials(),
            "GET",
            "/dir/index.html",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            1,
        );
        assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
        assert!(answer.contains("qop=auth, nc=00000001"), "{answer}");
        assert!(answer.contains("opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""), "{answer}");
    }
}

/// The example of RFC 2069 (with its erratum): no quality of protection, no algorithm.
#[test]
fn a_digest_without_quality_is_answered() {
    let header = r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
    let challenge = Challenge::strongest([header]).unwrap();
    let credentials = Credentials { user: "Mufasa".to_owned(), password: "CircleOfLife".to_owned() };
    let answer = challenge.answer(&credentials, "GET", "/dir/index.html", "unused", 9);
    assert!(answer.contains("response=\"1949323746fe6a43ef61f9606e7febea\""), "{answer}");
    assert!(!answer.contains("qop") && !answer.contains("algorithm"), "{answer}");
}

#[test]
fn basic_is_answered() {
    let challenge = Challenge::strongest(["Basic realm=\"x\""]).unwrap();
    let credentials = Credentials { user: "Aladdin".to_owned(), password: "open sesame".to_owned() };
    assert_eq!(challenge.answer(&credentials, "GET", "/", "", 1), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

#[test]
fn the_strongest_challenge_that_can_be_answered_is_chosen() {
    let chosen = |headers: &[&str]| Challenge::strongest(headers.iter().copied());
    let one_line = "Basic realm=\"a, b\", Digest realm = c,nonce=\"1\\\"2\" , algorithm=\"MD5\",stale=TRUE, Digest realm=\"c\", nonce=3, algorithm=SHA-256";
    let Some(Challenge::Digest { nonce, algorithm, .. }) = chosen(&[one_line]) else { panic!() };
    assert_eq!((nonce.as_str(), algorithm), ("3", Some(Algorithm::Sha256)));
    let all = Challenge::parse_all(one_line);
    assert_eq!(all[0], Challenge::Basic { realm: "a, b".to_owned() });
    assert!(matches!(&all[1], Challenge::Digest { nonce, stale: true, .. } if nonce == "1\"2"));
    // Nothing that could not be answered is chosen.
    assert!(matches!(
        chosen(&[
            "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-512-256",
            "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"",
            "Basic"
        ]),
        Some(Challenge::Basic { .. })
    ));
    assert_eq!(chosen(&["Bearer realm=x", "Digest realm=\"r\"", "", ","]), None);
}

#[test]
fn a_server_knows_the_right_answer_from_wrong_ones() {
    for header in challenges("site", "abc", false) {
        let challenge = Challenge::strongest([header.as_str()]).unwrap();
        let answer = challenge.answer(&credentials(), "DESCRIBE", "rtsp://h/\"x", "q", 1);
        let authorization = Authorization::parse(&answer).unwrap();
        assert_eq!(authorization.user(), "Mufasa");
        assert_eq!(authorization.uri(), Some("rtsp://h/\"x"));
        assert_eq!(authorization.nonce(), Some("abc"));
        assert!(authorization.verify("Circle of Life", "site", "abc", "DESCRIBE"));
        assert!(!authorization.verify("Circle of life", "site", "abc", "DESCRIBE"));
        assert!(!authorization.verify("Circle of Life", "sites", "abc", "DESCRIBE"));
        assert!(!authorization.verify("Circle of Life", "site", "abd", "DESCRIBE"));
        assert!(!authorization.verify("Circle of Life", "site", "abc", "SETUP"));
        let cut = answer.replace("response=\"", "response=\"0");
        assert!(!Authorization::parse(&cut).unwrap().verify("Circle of Life", "site", "abc", "DESCRIBE"));
    }
    let basic = Authorization::parse("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
    assert!(!basic.verify("open sesame", "site", "abc", "DESCRIBE"));
}

#[test]
fn passwords_are_not_shown() {
    let basic = Authorization::parse("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
    assert!(!format!("{basic:?} {:?}", credentials()).contains("esame"));
    assert!(!format!("{:?}", credentials()).contains("Circle"));
}

proptest! {
    #[test]
    fn any_user_and_password_are_proven(
        user in "\\PC{0,20}", password in "\\PC{0,20}", realm in "[ -~]{0,20}", nonce in "[!-~]{1,20}", uri in "[!-~]{1,30}",
    ) {
        for header in challenges(&realm, &nonce, true) {
            let challenge = Challenge::strongest([header.as_str()]).unwrap();
            let credentials = Credentials { user: user.clone(), password: password.clone() };
            let answer = challenge.answer(&credentials, "PLAY", &uri, "c", 2);
            let authorization = Authorization::parse(&answer).unwrap();
            prop_assert_eq!(authorization.user(), &user);
            prop_assert!(authorization.verify(&password, &realm, &nonce, "PLAY"));
        }
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}") {
        let _ = Challenge::parse_all(&text);
        let _ = Authorization::parse(&text);
        let _ = Challenge::parse_all(&format!("Digest nonce={text}, qop=\"{text}"));
        let _ = Authorization::parse(&format!("Digest username={text}"));
        let _ = Authorization::parse(&format!("Basic {text}"));
    }
}
