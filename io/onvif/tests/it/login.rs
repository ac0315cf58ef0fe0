use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use keepwatch_model::WallTime;
use keepwatch_onvif::client::{ClientError, Device, Options};
use keepwatch_onvif::security::Nonces;

use crate::script::{
    Answer, Asked, PASSWORD, Script, challenge, clock, has_digest, information, seconds_now, services,
};

/// Whether a request has the right token by a clock that tells `seconds`, made within ten seconds as Axis wants it.
fn has_token(asked: &Asked, seconds: i64, nonces: &Mutex<Nonces>) -> bool {
    let Some(Ok(token)) = &asked.envelope.token else { return false };
    let now = WallTime::from_ticks(seconds * 90_000);
    token.verify(PASSWORD, now, Duration::from_secs(10), &mut nonces.lock().unwrap()).is_ok()
}

fn not_authorized() -> Answer {
    Answer::fault(&["NotAuthorized"], "Sender not authorized")
}

#[tokio::test]
async fn a_device_that_wants_digest_gets_it_and_one_request_for_each_call_from_then_on() {
    let script = Script::device(|asked| match has_digest(asked, "n1") {
        true => information(),
        false => challenge("n1", false),
    });
    let script = script.await;
    let device = script.connect().await;
    for _ in 0..3 {
        assert_eq!(device.information().await.unwrap().manufacturer, "ACME");
    }
    assert_eq!(script.count("GetDeviceInformation"), 4, "one challenge, three answers");
}

#[tokio::test]
async fn a_nonce_that_grew_old_is_no_wrong_password() {
    let nonce = AtomicUsize::new(0);
    let script = Script::device(move |asked| {
        // Each nonce is good for one request.
        let now = nonce.fetch_add(1, Ordering::Relaxed) / 2;
        match has_digest(asked, &format!("n{now}")) {
            true => information(),
            false => challenge(&format!("n{now}"), true),
        }
    });
    let script = script.await;
    let device = script.connect().await;
    for _ in 0..5 {
        device.information().await.unwrap();
    }
}

#[tokio::test]
async fn a_device_with_a_wrong_clock_gets_tokens_dated_by_that_clock() {
    let nonces = Mutex::default();
    let script = Script::start(move |asked| match asked.call.as_str() {
        "GetSystemDateAndTime" => clock(seconds_now() - 3600),
        _ if !has_token(asked, seconds_now() - 3600, &nonces) => not_authorized(),
        "GetServices" => services(),
        _ => information(),
    });
    let script = script.await;
    let device = script.connect().await;
    device.information().await.unwrap();
    let offset_seconds = device.clock_offset_ticks().unwrap() / 90_000;
    assert!((-3602..=-3598).contains(&offset_seconds), "{offset_seconds}");
}

#[tokio::test]
async fn a_clock_that_is_set_between_calls_costs_no_login() {
    static OFFSET: AtomicI64 = AtomicI64::new(0);
    let nonces = Mutex::default();
    let script = Script::start(move |asked| {
        let now = seconds_now() + OFFSET.load(Ordering::Relaxed);
        match asked.call.as_str() {
            "GetSystemDateAndTime" => clock(now),
            _ if !has_token(asked, now, &nonces) => not_authorized(),
            "GetServices" => services(),
            _ => information(),
        }
    });
    let script = script.await;
    let device = script.connect().await;
    OFFSET.store(7200, Ordering::Relaxed);
    device.information().await.unwrap();
    assert!((7198..=7202).contains(&(device.clock_offset_ticks().unwrap() / 90_000)));
}

/// A camera whose answer holds a fault and a challenge has refused the digest: a third try would bring the lock-out near.
#[tokio::test]
async fn a_digest_that_is_challenged_again_is_tried_no_other_way() {
    let script = Script::device(|_| not_authorized().asking_for_digest("n1")).await;
    let error = script.connect().await.information().await.unwrap_err();
    assert!(matches!(error, ClientError::LoginRefused { .. }), "{error}");
    assert_eq!(script.count("GetDeviceInformation"), 2, "a token and a digest");
}

/// A redirection before it makes a nonce that grew old no wrong password.
#[tokio::test]
async fn a_nonce_that_grew_old_is_answered_after_a_redirection() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let script = Script::device(|asked| {
        if asked.path != "/elsewhere" {
            return Answer::raw(307, "").with("location", "/elsewhere");
        }
        // It forgets its nonce after the first answer, and does not say that it was old.
        let nonce = if CALLS.fetch_add(1, Ordering::Relaxed) < 2 { "n1" } else { "n2" };
        match has_digest(asked, nonce) {
            true => information(),
            false => challenge(nonce, false),
        }
    });
    let script = script.await;
    let device = script.connect().await;
    for _ in 0..2 {
        device.information().await.unwrap();
    }
}

#[tokio::test]
async fn a_device_that_wants_both_gets_both() {
    let nonces = Mutex::default();
    let script = Script::device(move |asked| match has_digest(asked, "n1") {
        false => challenge("n1", false),
        true if !has_token(asked, seconds_now(), &nonces) => not_authorized(),
        true => information(),
    });
    let script = script.await;
    script.connect().await.information().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_ends_after_few_requests_and_says_so() {
    for (name, refuse) in [
        ("digest", (|_| challenge("n1", false)) as fn(&Asked) -> Answer),
        ("digest with a fault", |_| not_authorized().asking_for_digest("n1")),
        ("token", |_| not_authorized()),
        ("bare", |_| Answer::raw(401, "")),
    ] {
        let script = Script::device(refuse).await;
        let device = script.connect().await;
        let error = device.information().await.unwrap_err();
        assert!(matches!(error, ClientError::LoginRefused { .. }), "{name}: {error}");
        assert!(error.is_login());
        // More would get the user locked on the camera.
        assert!(
            script.count("GetDeviceInformation") <= 3,
            "{name}: {}",
            script.count("GetDeviceInformation")
        );
        assert!(!error.to_string().contains(PASSWORD));
    }
}

#[tokio::test]
async fn without_a_login_the_error_asks_for_one() {
    let script = Script::device(|_| not_authorized()).await;
    let device = Device::connect(Options::new(script.url.clone())).await.unwrap();
    let error = device.information().await.unwrap_err();
    assert!(matches!(error, ClientError::LoginNeeded("GetDeviceInformation")), "{error}");
}

#[tokio::test]
async fn the_password_itself_is_never_sent_in_the_clear() {
    let script = Script::device(|asked| {
        assert_eq!(asked.authorization, None);
        Answer::challenge(vec!["Basic realm=\"camera\"".to_owned()])
    });
    let script = script.await;
    let error = script.connect().await.information().await.unwrap_err();
    assert!(matches!(error, ClientError::PasswordInTheClear), "{error}");
}

fn basic() -> Answer {
    Answer::challenge(vec!["Basic realm=\"camera\"".to_owned()])
}

/// What is wrong is not that the device would take the password itself, too.
#[tokio::test]
async fn a_wish_for_the_password_hides_no_other_cause() {
    let script = Script::device(|_| basic()).await;
    let without = Device::connect(Options::new(script.url.clone())).await.unwrap();
    let error = without.information().await.unwrap_err();
    assert!(matches!(error, ClientError::LoginNeeded(_)), "{error}");
    // The clock of the device was set after it was read, so its tokens are refused.
    static OFFSET: AtomicI64 = AtomicI64::new(0);
    let nonces = Mutex::default();
    let script = Script::start(move |asked| {
        let now = seconds_now() + OFFSET.load(Ordering::Relaxed);
        match asked.call.as_str() {
            "GetSystemDateAndTime" => clock(now),
            _ if !has_token(asked, now, &nonces) => {
                not_authorized().with_status(401).with("www-authenticate", "Basic realm=\"camera\"")
            }
            "GetServices" => services(),
            _ => information(),
        }
    });
    let script = script.await;
    let device = script.connect().await;
    OFFSET.store(7200, Ordering::Relaxed);
    device.information().await.unwrap();
}

#[tokio::test]
async fn a_device_that_does_not_tell_its_clock_is_asked_all_the_same() {
    let nonces = Mutex::default();
    let script = Script::start(move |asked| match asked.call.as_str() {
        "GetSystemDateAndTime" => not_authorized(),
        _ if !has_token(asked, seconds_now(), &nonces) => not_authorized(),
        "GetServices" => services(),
        _ => information(),
    });
    let script = script.await;
    script.connect().await.information().await.unwrap();
}
