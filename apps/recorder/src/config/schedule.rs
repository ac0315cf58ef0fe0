//! When a camera is recorded: texts like "mon-fri 07:00-19:00" (UTC) into spans of the week.

use std::collections::BTreeMap;

use super::WeeklySpan;
use super::text::{Complaint, quoted};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u32 = 24 * 60;
const WEEK_MINUTES: u32 = 7 * DAY_MINUTES;
const REMEDY: &str =
    "write days and times like \"mon-fri 07:00-19:00\", \"sat,sun 00:00-24:00\" or \"daily 22:00-06:00\"";

/// Reads one entry of a schedule. Times are UTC; a time that ends before it begins ends on the next day.
pub(super) fn entry(text: &str) -> Result<Vec<WeeklySpan>, Complaint> {
    let complain = |what: String| Complaint::new(format!("{} {what}", quoted(text)), REMEDY);
    let lower = text.trim().to_ascii_lowercase();
    let (days, times) = lower.split_once(' ').ok_or_else(|| complain("is not days and times".to_owned()))?;
    let (from, to) =
        times.trim().split_once('-').ok_or_else(|| complain("has no time from-to".to_owned()))?;
    let read = |time: &str| minute(time).ok_or_else(|| complain(format!("holds no time {}", quoted(time))));
    let (from, to) = (read(from)?, read(to)?);
    if from == to || from == DAY_MINUTES {
        return Err(complain("is an empty time".to_owned()));
    }
    let length = if to > from { to - from } else { to + DAY_MINUTES - from };
    let days = week_days(days).ok_or_else(|| complain(format!("holds no days {}", quoted(days))))?;
    let mut spans = Vec::new();
    for day in days {
        let from_minute = day * DAY_MINUTES + from;
        let to_minute = from_minute + length;
        spans.push(WeeklySpan { from_minute, to_minute: to_minute.min(WEEK_MINUTES) });
        if to_minute > WEEK_MINUTES {
            spans.push(WeeklySpan { from_minute: 0, to_minute: to_minute - WEEK_MINUTES });
        }
    }
    Ok(spans)
}

/// The spans in order, those that touch made one.
pub(super) fn merge(mut spans: Vec<WeeklySpan>) -> Vec<WeeklySpan> {
    spans.sort_unstable();
    let mut merged: Vec<WeeklySpan> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.from_minute <= last.to_minute => {
                last.to_minute = last.to_minute.max(span.to_minute);
            }
            Some(_) | None => merged.push(span),
        }
    }
    merged
}

/// The spans as [`entry`] reads them: days of the same times in one entry, in the order of the first day.
pub(crate) fn show(spans: &[WeeklySpan]) -> Vec<String> {
    // By times of the day, the days that have them, Monday as 0.
    let mut entries: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for span in spans {
        for (number, day) in (0..7_u32).zip(0_usize..) {
            let begins = number * DAY_MINUTES;
            let from = span.from_minute.clamp(begins, begins + DAY_MINUTES) - begins;
            let to = span.to_minute.clamp(begins, begins + DAY_MINUTES) - begins;
            if from < to {
                entries.entry((from, to)).or_default().push(day);
            }
        }
    }
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by_key(|(times, days)| (days.first().copied(), *times));
    let time = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
    let shown =
        entries.iter().map(|((from, to), days)| format!("{} {}-{}", show_days(days), time(*from), time(*to)));
    shown.collect()
}

/// Days as [`week_days`] reads them: `daily`, `mon-fri`, `mon,wed`.
fn show_days(days: &[usize]) -> String {
    if days.len() == DAYS.len() {
        return "daily".to_owned();
    }
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for day in days {
        match stretches.last_mut() {
            Some((_, last)) if *last + 1 == *day => *last = *day,
            Some(_) | None => stretches.push((*day, *day)),
        }
    }
    let name = |day: usize| DAYS.get(day).copied().unwrap_or_default();
    let shown = stretches.iter().map(|(first, last)| match last - first {
        0 => name(*first).to_owned(),
        _ => format!("{}-{}", name(*first), name(*last)),
    });
    shown.collect::<Vec<_>>().join(",")
}

/// The days that `text` names, Monday as 0: `mon`, `mon-fri`, `sat,sun`, `daily`.
fn week_days(text: &str) -> Option<Vec<u32>> {
    if text == "daily" {
        return Some((0..7).collect());
    }
    let number = |name: &str| (0..7).zip(DAYS).find(|(_, day)| *day == name).map(|(number, _)| number);
    let mut days = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (number(from)?, number(to)?);
        // fri-mon runs over the end of the week.
        let count = (to + 7 - from) % 7;
        days.extend((0..=count).map(|step| (from + step) % 7));
    }
    Some(days)
}

/// Minutes since midnight of `07:30`; 24:00 is the end of the day.
fn minute(text: &str) -> Option<u32> {
    let (hours, minutes) = text.trim().split_once(':')?;
    if hours.len() != 2
        || minutes.len() != 2
        || !(hours.bytes().chain(minutes.bytes())).all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= DAY_MINUTES).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(texts: &[&str]) -> Vec<(u32, u32)> {
        let all = texts.iter().flat_map(|text| entry(text).unwrap()).collect();
        merge(all).into_iter().map(|span| (span.from_minute, span.to_minute)).collect()
    }

    #[test]
    fn entries_become_spans_of_the_week() {
        assert_eq!(spans(&["mon 07:00-19:00"]), [(420, 1140)]);
        assert_eq!(spans(&["mon-tue 00:00-24:00"]), [(0, 2880)]);
        assert_eq!(spans(&["daily 00:00-24:00"]), [(0, WEEK_MINUTES)]);
        assert_eq!(spans(&["Sat,SUN  08:00 - 09:00"]), [(7680, 7740), (9120, 9180)]);
        assert_eq!(spans(&["sun 22:00-06:00"]), [(0, 360), (9960, 10080)]);
        assert_eq!(spans(&["fri-mon 10:00-11:00"]), [(600, 660), (6360, 6420), (7800, 7860), (9240, 9300)]);
        assert_eq!(spans(&["mon 07:00-09:00", "mon 08:00-10:00", "mon 10:00-11:00"]), [(420, 660)]);
        assert_eq!(spans(&["wed 12:00-00:00"]), [(3600, 4320)]);
    }

    #[test]
    fn spans_are_shown_as_they_are_read() {
        for texts in [
            &["mon-fri 07:00-19:00", "sat,sun 00:00-24:00"][..],
            &["mon,wed-thu 08:30-09:00"],
            &["daily 00:00-06:00", "daily 22:00-24:00"],
            &["sun 23:59-24:00"],
            &[],
        ] {
            let merged = merge(texts.iter().flat_map(|text| entry(text).unwrap()).collect());
            let shown = show(&merged);
            let again = merge(shown.iter().flat_map(|text| entry(text).unwrap()).collect());
            assert_eq!(merged, again, "{texts:?}: {shown:?}");
        }
        let overnight = merge(entry("fri-mon 22:00-06:00").unwrap());
        assert_eq!(show(&overnight), ["mon-tue,sat-sun 00:00-06:00", "mon,fri-sun 22:00-24:00"]);
        assert_eq!(merge(show(&overnight).iter().flat_map(|text| entry(text).unwrap()).collect()), overnight);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "mon",
            "07:00-19:00",
            "mon 07:00",
            "mon 7:00-19:00",
            "mon 07:00-25:00",
            "mon 07:60-08:00",
            "mon 24:30-08:00",
            "mon 07:00-07:00",
            "mon 24:00-08:00",
            "mo 07:00-08:00",
            "mon- 07:00-08:00",
            "mon,,tue 07:00-08:00",
            "mon +7:00-08:00",
        ] {
            let complaint = entry(text).unwrap_err();
            assert!(complaint.what.starts_with(&format!("{text:?} ")), "{complaint:?}");
        }
    }
}
