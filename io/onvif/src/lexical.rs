//! Times and durations as XML Schema writes them (Part 2 §3.2.6 and §3.2.7).
//!
//! Reading forgives what devices do: a time without zone is UTC, as ONVIF means it, and white space is passed over.

use std::time::Duration;

use keepwatch_model::WallTime;

/// Longest text that is read as a time or duration, in bytes: the longest sensible one has about forty.
const TEXT_BYTES_MAX: usize = 64;

/// Reads an `xs:dateTime`, which is UTC where it says nothing else; `None` when it is none.
pub fn parse_date_time(text: &str) -> Option<WallTime> {
    let text = text.trim();
    // A jiff annotation in brackets is no XML Schema.
    if text.len() > TEXT_BYTES_MAX || text.contains('[') {
        return None;
    }
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (clock, zone) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at_checked(at)?,
        None => (time, "Z"),
    };
    // §3.2.7: midnight may be written as the end of the day before.
    let end_of_day = clock.strip_prefix("24:00:00").is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('.').is_some_and(|zeros| zeros.bytes().all(|byte| byte == b'0'))
    });
    let clock = if end_of_day { "00:00:00" } else { clock };
    let zone = if zone.eq_ignore_ascii_case("z") { "Z" } else { zone };
    // More digits than nanoseconds have are allowed and mean nothing here.
    let clock = match clock.split_once('.') {
        Some((whole, fraction)) => {
            format!("{whole}.{}", fraction.get(..9.min(fraction.len()))?)
        }
        None => clock.to_owned(),
    };
    let timestamp: jiff::Timestamp = format!("{date}T{clock}{zone}").parse().ok()?;
    let days = if end_of_day { 24 * 3600 * 1_000_000_000 } else { 0 };
    Some(WallTime::from_unix_nanos(timestamp.as_nanosecond().saturating_add(days)))
}

/// Writes an `xs:dateTime` in UTC with microseconds, which distinguish all labels.
pub fn date_time(time: WallTime) -> String {
    time.to_string()
}

/// Writes an `xs:dateTime` in UTC with whole seconds, rounded down: some devices refuse a fraction in a login.
pub fn date_time_seconds(time: WallTime) -> String {
    let text = time.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

/// Reads an `xs:duration`; a year counts 365 days and a month 30. `None` when it is none, or negative.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (days, clock) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((days, clock)) => (days, clock),
        None => (text.strip_prefix('P').filter(|days| !days.is_empty())?, ""),
    };
    const DAY: u64 = 24 * 3600;
    let days = seconds_of(days, &[('Y', 365 * DAY), ('M', 30 * DAY), ('D', DAY)])?;
    let clock = seconds_of(clock, &[('H', 3600), ('M', 60), ('S', 1)])?;
    Some(days.saturating_add(clock))
}

/// Sums `1Y2M3D` or `4H5M6.7S`, in which units may be left out but not change places.
fn seconds_of(mut text: &str, units: &[(char, u64)]) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for (unit, seconds) in units {
        let Some((number, rest)) = text.split_once(*unit) else { continue };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if *seconds != 1 && !fraction.is_empty() {
            return None;
        }
        let whole: u64 = digits(whole)?.parse().ok()?;
        let nanos = fraction.bytes().take(9).chain(std::iter::repeat(b'0')).take(9);
        let nanos = nanos.collect::<Vec<u8>>();
        let nanos: u32 = digits(std::str::from_utf8(&nanos).ok()?)?.parse().ok()?;
        let part = Duration::new(whole.saturating_mul(*seconds), 0)
            .saturating_add(Duration::from_nanos(nanos.into()));
        sum = sum.saturating_add(part);
        text = rest;
    }
    text.is_empty().then_some(sum)
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// Writes an `xs:duration` in seconds and milliseconds, rounded down.
pub fn duration(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("PT{}S", duration.as_secs()),
        millis => format!("PT{}.{millis:03}S", duration.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> WallTime {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_read_in_every_form_that_devices_use() {
        for (text, expected) in [
            ("2026-11-22T02:26:56Z", "2026-11-22T02:26:56Z"),
            ("2026-11-22T02:26:56", "2026-11-22T02:26:56Z"),
            (" 2026-11-22T02:26:56.5z\n", "2026-11-22T02:26:56.5Z"),
            ("2026-11-22T02:26:56+02:00", "2026-11-22T00:26:56Z"),
            ("2026-11-22T02:26:56.123456789123456-05:30", "2026-11-22T07:56:56.123456789Z"),
            ("2026-11-22T24:00:00Z", "2026-11-23T00:00:00Z"),
            ("2026-12-31T24:00:00.000", "2027-01-01T00:00:00Z"),
            ("2026-11-22 02:26:56", "2026-11-22T02:26:56Z"),
        ] {
            assert_eq!(parse_date_time(text), Some(time(expected)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in
            ["", "T", "now", "2026-13-01T00:00:00Z", "2026-11-22T24:00:01Z", "2026-11-22", "2026-11-22Té"]
        {
            assert_eq!(parse_date_time(text), None, "{text}");
        }
        assert_eq!(parse_date_time(&"9".repeat(100)), None);
    }

    #[test]
    fn durations_are_read_and_what_is_none_is_not() {
        let seconds = Duration::from_secs_f64;
        for (text, expected) in [
            ("PT10S", seconds(10.0)),
            ("PT0.5S", seconds(0.5)),
            ("P1DT1M", seconds(86_460.0)),
            ("P1Y2M3DT4H5M6S", seconds(f64::from(365 * 86_400 + 63 * 86_400 + 4 * 3600 + 5 * 60 + 6))),
            ("PT99999999999999999S", Duration::from_secs(99_999_999_999_999_999)),
        ] {
            assert_eq!(parse_duration(text), Some(expected), "{text}");
        }
        assert_eq!(parse_duration("PT18446744073709551615H"), Some(Duration::from_secs(u64::MAX)));
        for text in ["", "P", "PT", "10", "-PT1S", "PT1S1M", "PT1.5M", "PTS", "P1S", "PT1é"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_login_time_has_no_fraction() {
        assert_eq!(date_time_seconds(time("2026-11-22T02:26:56.9Z")), "2026-11-22T02:26:56Z");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(ticks in -1_000_000_000_000_000i64..20_000_000_000_000_000, millis: u32) {
            let label = WallTime::from_ticks(ticks);
            prop_assert_eq!(parse_date_time(&date_time(label)), Some(label));
            let length = Duration::from_millis(millis.into());
            prop_assert_eq!(parse_duration(&duration(length)), Some(length));
        }
    }
}
