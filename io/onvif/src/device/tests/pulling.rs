//! Pull points.

use std::time::Duration;

use tokio::time::{Instant, advance};

use super::fake::{Fake, Proof, Site, motion, viewer};
use crate::notification::{Notification, Operation};
use crate::xml::Element;

const CREATE: &str = "<tev:CreatePullPointSubscription/>";

async fn subscribe(site: &Site, ask: &str) -> String {
    let answer = site.call(ask).await;
    let address = answer.text_at(&["SubscriptionReference", "Address"]).unwrap();
    address.strip_prefix("http://camera.example:8080").unwrap().to_owned()
}

fn pull(timeout: &str, limit: usize) -> String {
    format!(
        "<tev:PullMessages><tev:Timeout>{timeout}</tev:Timeout><tev:MessageLimit>{limit}</tev:MessageLimit>\
         </tev:PullMessages>"
    )
}

/// Operation and state of each message.
fn states(answer: &Element) -> Vec<(Operation, bool)> {
    let read = |message: &Element| Notification::read(message, super::fake::at(0)).unwrap();
    let messages = answer.children("NotificationMessage").map(read);
    messages.map(|message| (message.operation.unwrap(), message.data[0].1 == "true")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_is_told_the_state_first_and_then_each_change_once() {
    let site = Site::new(Fake::new());
    let point = subscribe(&site, CREATE).await;
    site.fake.events.send(motion(true, Operation::Changed)).unwrap();
    site.fake.events.send(motion(false, Operation::Changed)).unwrap();
    let first = states(&site.call_at(&point, &pull("PT5S", 2)).await);
    assert_eq!(first, [(Operation::Initialized, false), (Operation::Changed, true)]);
    assert_eq!(states(&site.call_at(&point, &pull("PT5S", 2)).await), [(Operation::Changed, false)]);
    let start = Instant::now();
    assert_eq!(states(&site.call_at(&point, &pull("PT5S", 2)).await), []);
    assert_eq!(start.elapsed(), Duration::from_secs(5), "the client asked to wait");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_fetch_is_answered_when_something_happens() {
    let site = Site::new(Fake::new());
    let point = subscribe(&site, CREATE).await;
    site.call_at(&point, &pull("PT1S", 10)).await;
    let start = Instant::now();
    let wait = pull("PT60S", 10);
    let (answer, ()) = tokio::join!(site.call_at(&point, &wait), async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        site.fake.events.send(motion(true, Operation::Changed)).unwrap();
    });
    assert_eq!(
        (states(&answer), start.elapsed()),
        (vec![(Operation::Changed, true)], Duration::from_secs(7))
    );
    // The state is told again also to a fetch that waits already.
    let (answer, _) = tokio::join!(site.call_at(&point, &wait), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        site.call_at(&point, "<tev:SetSynchronizationPoint/>").await
    });
    assert_eq!(states(&answer), [(Operation::Initialized, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_falls_back_is_told_the_state_instead() {
    let site = Site::new(Fake::new());
    let point = subscribe(&site, CREATE).await;
    site.call_at(&point, &pull("PT1S", 10)).await;
    for number in 0..50 {
        site.fake.events.send(motion(number % 2 == 0, Operation::Changed)).unwrap();
    }
    let told = states(&site.call_at(&point, &pull("PT5S", 100)).await);
    assert_eq!(told[0], (Operation::Initialized, false));
    assert_eq!(told.len(), 5, "the state, and what the channel held");
}

#[tokio::test(start_paused = true)]
async fn a_filter_leaves_what_is_asked_for() {
    let site = Site::new(Fake::new());
    let filtered = |topic: &str| {
        format!(
            "<tev:CreatePullPointSubscription><tev:Filter><wsnt:TopicExpression Dialect='\
             http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet'>{topic}</wsnt:TopicExpression></tev:Filter>\
             </tev:CreatePullPointSubscription>"
        )
    };
    let other = subscribe(&site, &filtered("tns1:Device//.")).await;
    let same = subscribe(&site, &filtered("tns1:Device//.|tns1:VideoSource//.")).await;
    site.fake.events.send(motion(true, Operation::Changed)).unwrap();
    assert_eq!(states(&site.call_at(&other, &pull("PT1S", 10)).await), []);
    assert_eq!(states(&site.call_at(&same, &pull("PT1S", 10)).await).len(), 2);
    assert_eq!(site.refused(&filtered("boolean(//x)")).await, (400, "InvalidFilterFault".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_lives_as_long_as_it_is_renewed() {
    let site = Site::new(Fake::new());
    let ask = "<tev:CreatePullPointSubscription><tev:InitialTerminationTime>PT30S</tev:InitialTerminationTime>\
               </tev:CreatePullPointSubscription>";
    let point = subscribe(&site, ask).await;
    let renew = "<wsnt:Renew><wsnt:TerminationTime>PT30S</wsnt:TerminationTime></wsnt:Renew>";
    for _ in 0..5 {
        advance(Duration::from_secs(20)).await;
        let answer = site.call_at(&point, renew).await;
        assert!(answer.child("TerminationTime").is_some());
    }
    advance(Duration::from_secs(31)).await;
    let gone = (400, "ResourceUnknownFault".to_owned());
    let proof = Proof::Token(viewer());
    for ask in [renew, &pull("PT1S", 1), "<wsnt:Unsubscribe/>", "<tev:SetSynchronizationPoint/>"] {
        assert_eq!(site.refused_at(&point, ask, &proof).await, gone, "{ask}");
    }
    // Without a time of its own, fetching keeps it alive.
    let point = subscribe(&site, CREATE).await;
    site.call_at(&point, &pull("PT1S", 10)).await;
    for _ in 0..5 {
        site.call_at(&point, &pull("PT50S", 10)).await;
    }
    // Ended while a fetch waits: the fetch ends too.
    let start = Instant::now();
    let wait = pull("PT60S", 10);
    let (fetched, _) = tokio::join!(site.refused_at(&point, &wait, &proof), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        site.call_at(&point, "<wsnt:Unsubscribe/>").await
    });
    assert_eq!((fetched, start.elapsed()), (gone, Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_subscriptions_until_some_expire() {
    let site = Site::new(Fake::new());
    for _ in 0..crate::device::PULL_POINTS_MAX {
        site.call(CREATE).await;
    }
    assert_eq!(site.refused(CREATE).await, (500, "ResourceProblem".to_owned()));
    advance(Duration::from_secs(61)).await;
    site.call(CREATE).await;
}
