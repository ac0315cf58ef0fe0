use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keepwatch_onvif::client::ClientError;
use keepwatch_onvif::notification::{Kind, Operation};

use crate::script::{Answer, Asked, Script};

/// A subscription as Axis makes one: the address is shared, and a reference parameter tells subscriptions apart.
fn subscribed(number: usize) -> Answer {
    Answer::body(&format!(
        "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference><wsa:Address>http://10.0.0.9/onvif/pull</wsa:Address>\
         <wsa:ReferenceParameters><dom0:SubscriptionId xmlns:dom0=\"http://www.axis.com/2009/event\">{number}</dom0:SubscriptionId>\
         </wsa:ReferenceParameters></tev:SubscriptionReference><wsnt:CurrentTime>2026-11-22T02:00:00Z</wsnt:CurrentTime>\
         <wsnt:TerminationTime>2026-11-22T02:01:00Z</wsnt:TerminationTime></tev:CreatePullPointSubscriptionResponse>"
    ))
}

fn message(topic: &str, item: &str, value: &str) -> String {
    format!(
        "<wsnt:NotificationMessage><wsnt:Topic Dialect=\"x\">{topic}</wsnt:Topic><wsnt:Message><tt:Message UtcTime=\"2026-11-22T02:00:01Z\" \
         PropertyOperation=\"Changed\"><tt:Source><tt:SimpleItem Name=\"Source\" Value=\"VS0\"/></tt:Source><tt:Data>\
         <tt:SimpleItem Name=\"{item}\" Value=\"{value}\"/></tt:Data></tt:Message></wsnt:Message></wsnt:NotificationMessage>"
    )
}

fn pulled(messages: &str) -> Answer {
    Answer::body(&format!(
        "<tev:PullMessagesResponse><tev:CurrentTime>2026-11-22T02:00:01Z</tev:CurrentTime>\
         <tev:TerminationTime>2026-11-22T02:01:01Z</tev:TerminationTime>{messages}</tev:PullMessagesResponse>"
    ))
}

fn subscription_of(asked: &Asked) -> String {
    assert_eq!(asked.path, "/onvif/pull");
    // The address in the header is the one that the device gave, wherever the request goes.
    assert_eq!(asked.envelope.to.as_deref(), Some("http://10.0.0.9/onvif/pull"));
    assert!(asked.envelope.action.as_deref().unwrap().ends_with("Request"));
    let id = asked.envelope.header.as_ref().unwrap().child("SubscriptionId").unwrap();
    assert_eq!(id.namespace.as_deref(), Some("http://www.axis.com/2009/event"));
    id.text.clone()
}

#[tokio::test]
async fn notifications_come_by_the_pull_point_that_the_device_named() {
    let script = Script::device(|asked| match asked.call.as_str() {
        "CreatePullPointSubscription" => subscribed(7),
        "SetSynchronizationPoint" => Answer::fault(&["ActionNotSupported"], "no"),
        "PullMessages" => {
            assert_eq!(subscription_of(asked), "7");
            assert_eq!(
                (asked.text(&["Timeout"]), asked.text(&["MessageLimit"])),
                ("PT20S".to_owned(), "100".to_owned())
            );
            let motion = message("tns1:VideoSource/MotionAlarm", "State", "true");
            pulled(
                &(motion + &message("tnsaxis:Camera/Heater", "state", "on") + "<wsnt:NotificationMessage/>"),
            )
        }
        "Unsubscribe" => Answer::body("<wsnt:UnsubscribeResponse/>"),
        other => panic!("{other}"),
    });
    let script = script.await;
    let mut subscription = script.connect().await.subscribe().await.unwrap();
    let batch = subscription.pull().await.unwrap();
    assert!(!batch.resubscribed);
    let [motion, heater] = &batch.notifications[..] else { panic!("{batch:?}") };
    assert!(motion.is_motion() && motion.operation == Some(Operation::Changed));
    assert_eq!((motion.kind(), motion.source_text().as_str()), (Some(Kind::Motion), "Source=VS0"));
    assert_eq!(motion.time, "2026-11-22T02:00:01Z".parse().unwrap());
    assert_eq!((heater.topic.as_str(), heater.kind()), ("Camera/Heater", None));
    subscription.close().await.unwrap();
    assert_eq!(script.count("Unsubscribe"), 1);
}

/// A camera that restarts forgets its subscriptions, and each says so in its own way.
#[tokio::test]
async fn a_subscription_that_the_device_forgot_is_made_again() {
    static SUBSCRIPTIONS: AtomicUsize = AtomicUsize::new(0);
    let script = Script::device(|asked| match asked.call.as_str() {
        "CreatePullPointSubscription" => subscribed(SUBSCRIPTIONS.fetch_add(1, Ordering::Relaxed)),
        "SetSynchronizationPoint" => Answer::body("<tev:SetSynchronizationPointResponse/>"),
        _ => match subscription_of(asked).as_str() {
            "0" => Answer::fault(&["ResourceUnknownFault"], "unknown"),
            "1" => Answer::raw(404, "<html/>"),
            _ => pulled(&message("tns1:VideoSource/SignalLoss", "State", "1")),
        },
    });
    let script = script.await;
    let mut subscription = script.connect().await.subscribe().await.unwrap();
    assert!(matches!(subscription.pull().await, Err(ClientError::Http { status: 404, .. })));
    assert_eq!(script.count("Unsubscribe"), 2, "neither point is left behind");
    let_pass(Duration::from_secs(10)).await;
    let batch = subscription.pull().await.unwrap();
    assert!(batch.resubscribed && batch.notifications[0].is_signal_loss());
    assert!(!subscription.pull().await.unwrap().resubscribed);
    assert_eq!(script.count("SetSynchronizationPoint"), 3);
}

/// Lets time pass while nothing goes on.
async fn let_pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Points that are left behind live for a minute, and a device has ten: then nobody can subscribe any more.
#[tokio::test]
async fn a_device_that_refuses_every_pull_is_not_filled_with_pull_points() {
    let script = Script::device(|asked| match asked.call.as_str() {
        "CreatePullPointSubscription" => subscribed(7),
        "PullMessages" => Answer::fault(&["ResourceUnknownFault"], "unknown"),
        other => Answer::body(&format!("<x:{other}Response xmlns:x=\"x\"/>")),
    });
    let script = script.await;
    let mut subscription = script.connect().await.subscribe().await.unwrap();
    let refused = |pulled| matches!(pulled, Err(ClientError::Refused { call: "PullMessages", .. }));
    assert!(refused(subscription.pull().await));
    // One was made anew at once, and no other is for ten seconds, however often it is asked.
    assert_eq!(script.count("CreatePullPointSubscription"), 2);
    for _ in 0..3 {
        let waiting = tokio::time::timeout(Duration::from_millis(300), subscription.pull()).await;
        assert!(waiting.is_err(), "it waits until it may subscribe");
    }
    assert_eq!((script.count("CreatePullPointSubscription"), script.count("PullMessages")), (2, 2));
    let_pass(Duration::from_secs(10)).await;
    assert!(refused(subscription.pull().await));
    assert_eq!((script.count("CreatePullPointSubscription"), script.count("Unsubscribe")), (3, 3));
    subscription.close().await.unwrap();
    assert_eq!(script.count("Unsubscribe"), 3, "there is none to leave");
}

#[tokio::test]
async fn a_device_that_always_has_something_to_tell_is_asked_five_times_a_second() {
    let script = Script::device(|asked| match asked.call.as_str() {
        "CreatePullPointSubscription" => subscribed(7),
        "PullMessages" => pulled(&message("tns1:VideoSource/MotionAlarm", "State", "true")),
        _ => Answer::body("<tev:SetSynchronizationPointResponse/>"),
    });
    let script = script.await;
    let mut subscription = script.connect().await.subscribe().await.unwrap();
    let begun = std::time::Instant::now();
    for _ in 0..4 {
        assert_eq!(subscription.pull().await.unwrap().notifications.len(), 1);
    }
    assert!(begun.elapsed() >= Duration::from_millis(590));
}

/// Some devices answer at once, whatever time they are given: asking on would keep them and us busy.
#[tokio::test]
async fn a_device_that_never_waits_is_asked_once_a_second() {
    let script = Script::device(|asked| match asked.call.as_str() {
        "CreatePullPointSubscription" => subscribed(7),
        "SetSynchronizationPoint" => Answer::body("<tev:SetSynchronizationPointResponse/>"),
        _ => pulled(""),
    });
    let script = script.await;
    let mut subscription = script.connect().await.subscribe().await.unwrap();
    let begun = std::time::Instant::now();
    for _ in 0..2 {
        assert_eq!(subscription.pull().await.unwrap().notifications, []);
    }
    assert!(begun.elapsed() >= Duration::from_millis(990));
}

#[tokio::test]
async fn a_subscription_is_renewed_before_it_ends_and_kept_where_that_is_not_known() {
    for knows_renew in [true, false] {
        let script = Script::device(move |asked| match asked.call.as_str() {
            // It ends after five seconds, the least that is believed.
            "CreatePullPointSubscription" => Answer::body(
                "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference><wsa:Address>/onvif/pull</wsa:Address>\
                 </tev:SubscriptionReference><wsnt:CurrentTime>2026-11-22T02:00:00Z</wsnt:CurrentTime>\
                 <wsnt:TerminationTime>2026-11-22T02:00:05Z</wsnt:TerminationTime></tev:CreatePullPointSubscriptionResponse>",
            ),
            "Renew" if !knows_renew => Answer::fault(&["ActionNotSupported"], "no"),
            "Renew" => Answer::body(
                "<wsnt:RenewResponse><wsnt:TerminationTime>x</wsnt:TerminationTime></wsnt:RenewResponse>",
            ),
            "PullMessages" => pulled(""),
            _ => Answer::body("<tev:SetSynchronizationPointResponse/>"),
        });
        let script = script.await;
        let mut subscription = script.connect().await.subscribe().await.unwrap();
        let begun = std::time::Instant::now();
        while script.count("Renew") == 0 {
            subscription.pull().await.unwrap();
            assert!(begun.elapsed() < Duration::from_secs(5), "it was never renewed");
        }
        subscription.pull().await.unwrap();
        assert_eq!((script.count("Renew"), script.count("CreatePullPointSubscription")), (1, 1));
    }
}
