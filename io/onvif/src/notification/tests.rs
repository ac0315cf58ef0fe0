use super::*;

fn item(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn notification(topic: &str, data: &[(&str, &str)]) -> Notification {
    Notification {
        topic: super::topic(topic),
        data: data.iter().map(|(name, value)| item(name, value)).collect(),
        ..Notification::default()
    }
}

#[test]
fn the_usual_topics_are_understood() {
    use Condition::{Active, Inactive, Momentary};
    for (topic, item, kind, condition) in [
        ("tns1:RuleEngine/CellMotionDetector/Motion", ("IsMotion", "true"), Kind::Motion, Active),
        ("tns1:RuleEngine/tns1:CellMotionDetector/tns1:Motion", ("IsMotion", "0"), Kind::Motion, Inactive),
        ("tns1:RuleEngine/MotionRegionDetector/Motion", ("State", "1"), Kind::Motion, Active),
        ("tns1:VideoSource/MotionAlarm", ("State", "false"), Kind::Motion, Inactive),
        ("tns1:RuleEngine/FieldDetector/ObjectsInside", ("IsInside", "true"), Kind::Object, Active),
        ("tns1:RuleEngine/LineDetector/Crossed", ("ObjectId", "15"), Kind::Object, Momentary),
        ("tns1:RuleEngine/CellMotionDetector/People", ("IsPeople", "true"), Kind::Object, Active),
        ("tns1:RuleEngine/MyRuleDetector/FaceDetect", ("State", "true"), Kind::Object, Active),
        ("tns1:RuleEngine/TamperDetector/Tamper", ("IsTamper", "true"), Kind::Tamper, Active),
        ("tns1:VideoSource/GlobalSceneChange/ImagingService", ("State", "true"), Kind::Tamper, Active),
        ("tns1:VideoSource/ImageTooDark/AnalyticsService", ("State", "false"), Kind::Tamper, Inactive),
        ("tns1:VideoSource/SignalLoss", ("State", "true"), Kind::SignalLoss, Active),
        ("tns1:Device/Trigger/DigitalInput", ("LogicalState", "inactive"), Kind::Input, Inactive),
    ] {
        let notification = notification(topic, &[item]);
        assert_eq!(notification.kind(), Some(kind), "{topic}");
        assert_eq!(notification.condition(), condition, "{topic}");
        assert_eq!(notification.is_motion(), kind == Kind::Motion && condition == Active);
    }
    for topic in ["tns1:Monitoring/ProcessorUsage", "", "/", "tns1:Device/Trigger/Relay", "VideoSource"] {
        assert_eq!(notification(topic, &[("State", "true")]).kind(), None, "{topic}");
    }
}

#[test]
fn a_deleted_property_is_over() {
    let mut motion = notification("tns1:VideoSource/MotionAlarm", &[("State", "true")]);
    assert!(motion.is_motion());
    motion.operation = Some(Operation::Deleted);
    assert!(!motion.is_motion());
}

#[test]
fn what_is_written_is_read_again() {
    let written = Notification {
        topic: "RuleEngine/CellMotionDetector/Motion".to_owned(),
        time: "2026-11-22T02:00:00.5Z".parse().unwrap(),
        operation: Some(Operation::Changed),
        source: vec![item("Rule", "gate & yard"), item("k", "1")],
        data: vec![item("IsMotion", "true")],
    };
    let text = crate::soap::write(&crate::soap::Header::default(), |writer| {
        writer.within("tev:PullMessagesResponse", |writer| {
            writer.within("wsnt:NotificationMessage", |writer| written.write(writer));
        });
    });
    let envelope = crate::soap::Envelope::parse(text.as_bytes()).unwrap();
    let read: Vec<_> = Notification::all_in(envelope.operation().unwrap(), WallTime::MIN).collect();
    assert_eq!(read, [written]);
    assert_eq!(read[0].source_text(), "Rule=gate & yard, k=1");
}

#[test]
fn long_and_dirty_texts_are_cut_and_cleaned() {
    let long = "é".repeat(1000);
    let text = format!(
        "<NotificationMessage><Topic>a:{long}</Topic><Message><Message UtcTime='soon'><Data>\
         <SimpleItem Name='a&#10;b' Value='{long}'/>{}</Data></Message></Message></NotificationMessage>",
        "<SimpleItem Name='n' Value='v'/>".repeat(100)
    );
    let read = Notification::read(&Element::parse(text.as_bytes()).unwrap(), WallTime::MAX).unwrap();
    assert_eq!(read.time, WallTime::MAX);
    assert_eq!(read.topic.len(), 256);
    assert_eq!(read.data[0].0, "a b");
    assert_eq!(read.data[0].1.len(), 256);
    assert_eq!(read.data.len(), ITEMS_MAX);
}
