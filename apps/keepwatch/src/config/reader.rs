//! Reads a table of the file key by key, noting every problem instead of stopping at the first.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "every kind of value but the wanted one is wrong in the same way"
)]

use std::ops::Range;

use keepwatch_recorder::config::text::{Complaint, nearest, quoted};
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::Report;

/// A table being read.
pub(crate) struct Table<'t, 'i> {
    entries: &'t DeTable<'i>,
    /// How messages name it, like `[node]`.
    name: &'static str,
    span: Range<usize>,
    /// Keys that were asked for: the known ones.
    known: Vec<&'static str>,
}

impl<'t, 'i> Table<'t, 'i> {
    /// The table `entries`, which stands at `span` and is called `name` in messages.
    pub(crate) const fn new(entries: &'t DeTable<'i>, name: &'static str, span: Range<usize>) -> Self {
        Self { entries, name, span, known: Vec::new() }
    }

    /// Whether `key` stands in it, whatever its value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether `key` holds something other than an empty list, which says that there is none.
    pub(crate) fn has_tables(&self, key: &str) -> bool {
        let value = self.entries.get(key);
        value.is_some_and(|value| !value.get_ref().as_array().is_some_and(|items| items.is_empty()))
    }

    /// Whether `key` holds a list, of tables or of anything else.
    pub(crate) fn is_list(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().as_array().is_some())
    }

    /// Complains when `key` holds an empty list.
    pub(crate) fn refuse_empty(&self, report: &mut Report, key: &'static str, remedy: &str) {
        if let Some(value) = self.entries.get(key)
            && value.get_ref().as_array().is_some_and(|items| items.is_empty())
        {
            report.error(value.span(), format!("{key} is an empty list"), remedy);
        }
    }

    /// Where the value of `key` stands; the table's own place when it is not there.
    pub(crate) fn span_of(&self, key: &str) -> Range<usize> {
        self.entries.get(key).map_or_else(|| self.span(), Spanned::span)
    }

    /// Where it stands.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The text at `key`.
    pub(crate) fn text(&mut self, report: &mut Report, key: &'static str) -> Option<Spanned<String>> {
        self.parsed(report, key, |text| Ok(text.to_owned()))
    }

    /// The text at `key`, turned into a value.
    pub(crate) fn parsed<T>(
        &mut self,
        report: &mut Report,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Complaint>,
    ) -> Option<Spanned<T>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => parse_one(report, value.span(), text, parse),
            other => {
                self.wrong_type(report, key, value.span(), other, "a text in quotation marks");
                None
            }
        }
    }

    /// The texts at `key`, each turned into a value; one text may stand without brackets.
    pub(crate) fn list<T>(
        &mut self,
        report: &mut Report,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Complaint>,
    ) -> Option<Vec<Spanned<T>>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(parse_one(report, value.span(), text, parse).into_iter().collect()),
            DeValue::Array(items) => {
                let mut parsed = Vec::new();
                for item in items.iter() {
                    match item.get_ref() {
                        DeValue::String(text) => {
                            parsed.extend(parse_one(report, item.span(), text, &parse));
                        }
                        other => {
                            self.wrong_type(report, key, item.span(), other, "a text in quotation marks")
                        }
                    }
                }
                Some(parsed)
            }
            other => {
                self.wrong_type(report, key, value.span(), other, "a list of texts");
                None
            }
        }
    }

    /// The texts at `key` with their positions; one text may stand without brackets.
    pub(crate) fn texts(&mut self, report: &mut Report, key: &'static str) -> Option<Vec<(usize, String)>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(vec![(0, text.to_string())]),
            DeValue::Array(items) => {
                let mut texts = Vec::new();
                for (position, item) in items.iter().enumerate() {
                    match item.get_ref() {
                        DeValue::String(text) => texts.push((position, text.to_string())),
                        other => {
                            self.wrong_type(report, key, item.span(), other, "a text in quotation marks")
                        }
                    }
                }
                Some(texts)
            }
            other => {
                self.wrong_type(report, key, value.span(), other, "a list of texts");
                None
            }
        }
    }

    /// Where an entry of the list at `key` stands.
    pub(crate) fn span_of_entry(&self, key: &str, position: usize) -> Range<usize> {
        let items = self.entries.get(key).and_then(|value| value.get_ref().as_array());
        items.and_then(|items| items.get(position)).map_or_else(|| self.span_of(key), Spanned::span)
    }

    /// The whole number at `key`, which is in `range`.
    pub(crate) fn whole(
        &mut self,
        report: &mut Report,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = self.value(key)?;
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        match value.get_ref() {
            DeValue::Integer(number) => {
                let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
                let number = number.filter(|number| range.contains(number));
                if number.is_none() {
                    report.error(value.span(), format!("{key} is out of range"), format!("write {wanted}"));
                }
                number
            }
            other => {
                self.wrong_type(report, key, value.span(), other, &wanted);
                None
            }
        }
    }

    /// `true` or `false` at `key`.
    pub(crate) fn boolean(&mut self, report: &mut Report, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(report, key, value.span(), value.get_ref(), "true or false");
        }
        found
    }

    /// The table at `key`, written `[key]`.
    pub(crate) fn table(
        &mut self,
        report: &mut Report,
        key: &'static str,
        name: &'static str,
    ) -> Option<Self> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Table(entries) => Some(Self::new(entries, name, value.span())),
            other => {
                report.error(
                    value.span(),
                    format!("{key} is {}", kind(other)),
                    format!("write {name} above its keys"),
                );
                None
            }
        }
    }

    /// The tables at `key`, written `[[key]]`.
    pub(crate) fn tables(&mut self, report: &mut Report, key: &'static str, name: &'static str) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let remedy = format!("write {name} above the keys of each");
        let mut tables = Vec::new();
        match value.get_ref() {
            DeValue::Array(items) => {
                for item in items.iter() {
                    match item.get_ref() {
                        DeValue::Table(entries) => tables.push(Self::new(entries, name, item.span())),
                        other => {
                            report.error(item.span(), format!("{key} holds {}", kind(other)), remedy.clone())
                        }
                    }
                }
            }
            DeValue::Table(entries) => {
                report.error(value.span(), format!("[{key}] has one pair of brackets"), remedy);
                // What stands in it is looked at all the same, so that the next run finds nothing else.
                tables.push(Self::new(entries, name, value.span()));
            }
            other => report.error(value.span(), format!("{key} is {}", kind(other)), remedy),
        }
        tables
    }

    /// Complains about `key` missing.
    pub(crate) fn missing(&self, report: &mut Report, key: &str, remedy: impl Into<String>) {
        report.error(self.span(), format!("{} has no {key}", self.name), remedy);
    }

    /// Complains about every key that was not asked for.
    pub(crate) fn finish(self, report: &mut Report) {
        for key in self.entries.keys() {
            let text: &str = key.get_ref();
            if self.known.contains(&text) {
                continue;
            }
            let place = if self.name.is_empty() { String::new() } else { format!(" in {}", self.name) };
            let remedy = nearest(text, &self.known).map_or_else(
                || format!("the keys here are {}", self.known.join(", ")),
                |known| format!("did you mean {known:?}?"),
            );
            report.error(key.span(), format!("unknown key {}{place}", quoted(text)), remedy);
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.known.push(key);
        self.entries.get(key)
    }

    fn wrong_type(
        &self,
        report: &mut Report,
        key: &str,
        span: Range<usize>,
        found: &DeValue<'_>,
        wanted: &str,
    ) {
        report.error(span, format!("{key} is {}", kind(found)), format!("write {wanted}"));
    }
}

fn parse_one<T>(
    report: &mut Report,
    span: Range<usize>,
    text: &str,
    parse: impl Fn(&str) -> Result<T, Complaint>,
) -> Option<Spanned<T>> {
    match parse(text) {
        Ok(value) => Some(Spanned::new(span, value)),
        Err(Complaint { what, remedy }) => {
            report.error(span, what, remedy);
            None
        }
    }
}

const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number without a unit or quotation marks",
        DeValue::Float(_) => "a number with a decimal point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
