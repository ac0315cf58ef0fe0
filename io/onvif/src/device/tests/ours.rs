//! Our own client against our own device, over HTTP: what one side writes, the other must understand.

use std::sync::Arc;

use keepwatch_model::Span;

use super::fake::{Fake, HOUR, admin, at};
use crate::client::{ClientError, Device, Options, StreamTransport, fetch_picture};
use crate::device::DeviceServer;

#[tokio::test]
async fn our_client_finds_streams_states_and_every_section_of_our_device() {
    // Its clock stands still, hours away from ours.
    let fake = Fake::new();
    let server = DeviceServer::bind("127.0.0.1:0".parse().unwrap(), Arc::new(fake)).await.unwrap();
    let address = format!("http://{}", server.address()).parse().unwrap();
    let admin = admin();
    let options = Options::new(address).with_login(admin.user, admin.password);
    let device = Device::connect(options).await.unwrap();
    assert!(device.clock_offset_ticks().is_some());
    assert_eq!(device.information().await.unwrap().model, "Lab 1");

    let profiles = device.profiles().await.unwrap();
    let tokens: Vec<&str> = profiles.iter().map(|profile| profile.token.as_str()).collect();
    assert_eq!(tokens, ["main", "sub", "third"]);
    let uri = device.stream_uri(&profiles[1], StreamTransport::Tcp).await.unwrap();
    assert_eq!(uri.as_str(), "rtsp://127.0.0.1:554/sub");

    let mut subscription = device.subscribe().await.unwrap();
    let batch = subscription.pull().await.unwrap();
    assert!(batch.notifications.iter().all(|notification| notification.topic == "VideoSource/MotionAlarm"));
    assert!(!batch.notifications.is_empty());
    subscription.close().await.unwrap();

    let mut recordings: Vec<String> =
        device.recordings().await.unwrap().into_iter().map(|recording| recording.token).collect();
    recordings.sort();
    assert_eq!(recordings, ["rec0000", "rec0001"]);
    // From the middle of a section to the middle of another.
    let span = Span::new(at(0).plus(HOUR / 4), at(2).plus(HOUR / 4)).unwrap();
    let sections = device.sections("rec0001", span).await.unwrap();
    let video = sections.iter().find(|track| track.track == "VIDEO001").unwrap();
    let expected = [
        Span::new(at(0).plus(HOUR / 4), at(0).plus(HOUR / 2)).unwrap(),
        Span::new(at(1), at(1).plus(HOUR / 2)).unwrap(),
        Span::new(at(2), at(2).plus(HOUR / 4)).unwrap(),
    ];
    assert_eq!(video.sections.spans(), expected);
    let uri = device.replay_uri("rec0001").await.unwrap();
    assert_eq!(uri.as_str(), "rtsp://127.0.0.1:554/replay/rec0001");
    server.shutdown().await;
}

#[tokio::test]
async fn our_client_fetches_a_picture_with_the_login_that_is_asked_for_and_from_nowhere_else() {
    let server = DeviceServer::bind("127.0.0.1:0".parse().unwrap(), Arc::new(Fake::new())).await.unwrap();
    let address: url::Url = format!("http://{}", server.address()).parse().unwrap();
    let login = |user: String, password: String| Options::new(address.clone()).with_login(user, password);
    let options = login(admin().user, admin().password);
    let device = Device::connect(options.clone()).await.unwrap();
    let profiles = device.profiles().await.unwrap();
    let place = device.snapshot_uri(&profiles[2]).await.unwrap();
    assert_eq!(place.host_str(), Some("127.0.0.1"));
    assert_eq!(fetch_picture(&options, &place).await.unwrap(), b"\xFF\xD8\xFF\xD9");

    let refused = fetch_picture(&login(admin().user, "wrong".to_owned()), &place).await.unwrap_err();
    assert!(matches!(refused, ClientError::LoginRefused { .. }) && refused.is_login(), "{refused}");
    let needed = fetch_picture(&Options::new(address.clone()), &place).await.unwrap_err();
    assert!(matches!(needed, ClientError::LoginNeeded(_)), "{needed}");
    let nothing = place.join("nothing").unwrap();
    let missing = fetch_picture(&options, &nothing).await.unwrap_err();
    assert!(matches!(missing, ClientError::Status { status: 404, .. }), "{missing}");
    // The login goes to the configured host alone, and nowhere in the clear where that has TLS.
    let elsewhere = format!("http://localhost:{}/", server.address().port()).parse().unwrap();
    let secure =
        Options { address: format!("https://{}", server.address()).parse().unwrap(), ..options.clone() };
    for (options, place) in [(&options, &elsewhere), (&secure, &place)] {
        let told = fetch_picture(options, place).await.unwrap_err();
        assert!(matches!(told, ClientError::Redirected(_)), "{told}");
    }
    server.shutdown().await;
}
