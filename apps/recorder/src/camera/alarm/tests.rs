use keepwatch_model::State;

use super::super::bench::Bench;
use super::super::notice;
use super::*;
use crate::config::Trigger;

/// A camera that is recorded on alarm by its events, so shortly that a test need not wait.
fn bench(on: Vec<Trigger>) -> Bench {
    let mut config = CameraConfig::new("gate".parse().unwrap(), "rtsp://192.0.2.1/1".parse().unwrap());
    let url = "http://192.0.2.1".parse().unwrap();
    config.source = CameraSource::Onvif { url, sub: false, events: true };
    config.alarm = Some(AlarmConfig { pre: Duration::ZERO, post: Duration::from_millis(20), on });
    Bench::new(config)
}

fn motion(state: &str) -> Notification {
    Notification {
        topic: "VideoSource/MotionAlarm".to_owned(),
        source: vec![("Source".to_owned(), "eye".to_owned())],
        data: vec![("State".to_owned(), state.to_owned())],
        ..Notification::default()
    }
}

fn view(bench: &Bench) -> AlarmView {
    bench.camera.alarm_view().unwrap()
}

#[tokio::test]
async fn what_is_heard_begins_an_alarm_and_what_is_not_heard_keeps_one_up() {
    let bench = bench(vec![Trigger::Motion]);
    let guard = Guard::start(&bench.context, &bench.camera).unwrap();
    bench.wait_until(|| view(&bench).heard == Some(false)).await;
    let unheard = Alarm { cause: Cause::Started, kept_by: Some(Cause::Unheard) };
    assert_eq!(view(&bench).alarm, Some(unheard));
    assert!(!bench.camera.is_buffered());
    bench.camera.set_listening(Listening::Heard);
    bench.wait_for(&["alarm_began", "alarm_ended"]).await;
    assert!(bench.camera.is_buffered() && view(&bench).alarm.is_none());

    // Without a line of its own it is a trigger all the same.
    notice::hear(&bench.context, bench.camera.main(), &motion("true"), false);
    let cause = Cause::Trigger("VideoSource/MotionAlarm Source=eye".to_owned());
    assert_eq!(view(&bench).alarm, Some(Alarm { cause: cause.clone(), kept_by: Some(cause) }));
    bench.wait_until(|| !bench.camera.is_buffered()).await;
    notice::hear(&bench.context, bench.camera.main(), &motion("false"), false);
    bench.wait_for(&["alarm_began", "alarm_ended", "alarm_began", "alarm_ended"]).await;
    let other = Notification { topic: "Device/HardwareFailure".to_owned(), ..motion("true") };
    notice::hear(&bench.context, bench.camera.main(), &other, false);
    assert_eq!(view(&bench).alarm, None, "no trigger of it");
    let called = bench.camera.raise_alarm(bench.context.clock, "guard".to_owned(), Duration::ZERO);
    assert_eq!(called, Err(RaiseError::NotTaken));
    guard.stop().await;
}

#[tokio::test]
async fn a_camera_that_takes_calls_only_listens_to_nothing() {
    let bench = bench(vec![Trigger::Api]);
    let raise = || bench.camera.raise_alarm(bench.context.clock, "guard".to_owned(), Duration::ZERO);
    assert_eq!((raise(), bench.camera.alarm_view()), (Err(RaiseError::Continuous), None));
    let guard = Guard::start(&bench.context, &bench.camera).unwrap();
    bench.wait_for(&["alarm_began", "alarm_ended"]).await;
    assert_eq!(view(&bench).heard, None);
    notice::hear(&bench.context, bench.camera.main(), &motion("true"), false);
    assert_eq!(view(&bench).alarm, None);
    assert_eq!(raise(), Ok(()));
    bench.wait_for(&["alarm_began", "alarm_ended", "alarm_began", "alarm_ended"]).await;
    // Nothing ever came of it: what could not be received is not time without an alarm.
    let last = bench.camera.main().ledger().last();
    assert!(last.is_none_or(|(_, state)| state != State::NoAlarm), "{last:?}");
    guard.stop().await;
    assert_eq!((raise(), bench.camera.alarm_view()), (Err(RaiseError::Continuous), None));
}
