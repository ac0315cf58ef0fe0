//! Which topics a filter wants: the topic expressions of WS-Topics 1.3 §8 and of ONVIF Core "Topic filter".
//!
//! Concrete paths, `*` for one step, `//.` for everything below, `//` for any depth, and `|` between alternatives.
//! Prefixes are not compared: only topics of ONVIF are sent, and clients bind its namespace to many prefixes.

use crate::xml::{Element, local_name};

use super::fault::Fault;

/// Longest expression that is read, in bytes.
const EXPRESSION_BYTES_MAX: usize = 2048;

/// Most steps and alternatives of an expression together: the longest topic of ONVIF has four steps.
const STEPS_MAX: usize = 32;

/// The topics that a client asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicFilter {
    /// Alternatives; none wants everything.
    paths: Vec<Vec<Step>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Exactly this name.
    Name(String),
    /// Any one name.
    Any,
    /// Any number of names, none included.
    Descend,
}

impl TopicFilter {
    /// The filter of a `wsnt:FilterType`, such as `Filter` of a subscription or `SearchFilter` of a search; all topics
    /// when there is none.
    ///
    /// Filters by content are refused: ignoring one would send what the client does not expect.
    pub(crate) fn read(filter: Option<&Element>) -> Result<Self, Fault> {
        let Some(filter) = filter else { return Ok(Self::default()) };
        let mut result = Self::default();
        for child in &filter.children {
            match child.name.as_str() {
                "TopicExpression" => result.add(&child.text)?,
                // Some clients write the element and leave it empty.
                "MessageContent" | "ProducerProperties" if child.text.is_empty() => {}
                other => return Err(Fault::filter(format!("filters of kind {other:?} are not supported"))),
            }
        }
        // Some clients leave out the element and write the expression directly.
        if filter.children.is_empty() && !filter.text.is_empty() {
            result.add(&filter.text)?;
        }
        Ok(result)
    }

    fn add(&mut self, expression: &str) -> Result<(), Fault> {
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(Fault::filter(format!("the expression has more than {EXPRESSION_BYTES_MAX} bytes")));
        }
        for path in expression.split('|') {
            self.paths.push(steps(path.trim())?);
        }
        if self.paths.iter().map(Vec::len).sum::<usize>() > STEPS_MAX {
            return Err(Fault::filter(format!("the expression has more than {STEPS_MAX} steps")));
        }
        Ok(())
    }

    /// Whether a topic is wanted; `topic` is a path with or without prefixes.
    pub(crate) fn wants(&self, topic: &str) -> bool {
        let names: Vec<&str> = topic.trim().split('/').map(local_name).collect();
        self.paths.is_empty() || self.paths.iter().any(|path| matches(path, &names))
    }
}

fn steps(path: &str) -> Result<Vec<Step>, Fault> {
    let malformed = || Fault::filter(format!("{path:?} is no topic expression"));
    let mut steps = Vec::new();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        match local_name(part.trim()) {
            // `a//b`: an empty part stands between the slashes.
            "" if !steps.is_empty() && parts.peek().is_some() => steps.push(Step::Descend),
            // `tns1://.`: the prefix stands before the slashes, and its local name is empty.
            "" if steps.is_empty() && part.ends_with(':') => {}
            "" => return Err(malformed()),
            // `//.` is the node itself and all below (WS-Topics 1.3 §8.3).
            "." => {}
            "*" => steps.push(Step::Any),
            name if name
                .chars()
                .all(|character| character.is_alphanumeric() || "-_.".contains(character)) =>
            {
                steps.push(Step::Name(name.to_owned()));
            }
            _ => return Err(malformed()),
        }
    }
    if steps.is_empty() { Err(malformed()) } else { Ok(steps) }
}

fn matches(steps: &[Step], names: &[&str]) -> bool {
    match (steps.split_first(), names.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((Step::Descend, rest)), _) => {
            (0..=names.len()).any(|skipped| names.get(skipped..).is_some_and(|below| matches(rest, below)))
        }
        (Some((Step::Name(wanted), rest)), Some((name, below))) => wanted == name && matches(rest, below),
        (Some((Step::Any, rest)), Some((_, below))) => matches(rest, below),
        (Some((Step::Name(_) | Step::Any, _)), None) => false,
    }
}

/// The dialects of topic expressions that are understood.
pub(crate) const DIALECTS: [&str; 2] = [
    "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Concrete",
    "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet",
];

/// Where the topics of ONVIF are described.
pub(crate) const TOPIC_NAMESPACE_LOCATION: &str = "http://www.onvif.org/onvif/ver10/topics/topicns.xml";

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(expression: &str) -> Result<TopicFilter, Fault> {
        let mut filter = TopicFilter::default();
        filter.add(expression)?;
        Ok(filter)
    }

    #[test]
    fn expressions_want_what_ws_topics_says() {
        const TRACK: &str = "tns1:RecordingHistory/Track/State";
        for (expression, topic, wanted) in [
            (TRACK, TRACK, true),
            ("RecordingHistory/Track/State", TRACK, true),
            ("tns1:RecordingHistory/Track", TRACK, false),
            ("tns1:RecordingHistory//.", TRACK, true),
            ("tns1:RecordingHistory//.", "tns1:RecordingHistory", true),
            ("tns1:RecordingHistory//State", TRACK, true),
            ("tns1:RecordingHistory/*/State", TRACK, true),
            ("tns1:RecordingHistory/*", TRACK, false),
            ("tns1:*/Track/State", TRACK, true),
            ("tns1:VideoSource//.|tns1:RecordingHistory//.", TRACK, true),
            ("tns1:VideoSource//.", TRACK, false),
            ("tnsX:RecordingHistory/tnsX:Track/tnsX:State", TRACK, true),
        ] {
            assert_eq!(filter(expression).unwrap().wants(topic), wanted, "{expression} {topic}");
        }
        assert!(TopicFilter::default().wants(TRACK));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let long = "a/".repeat(2000);
        let many = "a//".repeat(200) + "a";
        for expression in ["", "/", "a/", "|a", "boolean(//x)", "a[1]", &long, &many] {
            assert!(filter(expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn a_filter_by_content_is_refused_and_an_empty_one_is_not() {
        let read = |text: &str| TopicFilter::read(Some(&Element::parse(text.as_bytes()).unwrap()));
        assert!(read("<Filter><MessageContent>boolean(//x)</MessageContent></Filter>").is_err());
        assert_eq!(read("<Filter><MessageContent/></Filter>").unwrap(), TopicFilter::default());
        assert!(read("<SearchFilter>tns1:A/B</SearchFilter>").unwrap().wants("tns1:A/B"));
        assert_eq!(TopicFilter::read(None).unwrap(), TopicFilter::default());
    }
}
