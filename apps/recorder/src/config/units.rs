//! Values with units: durations like "10s" or "30 days", sizes like "4 GiB".

use std::time::Duration;

use super::text::{Complaint, quoted};

/// Units of time, each with its nanoseconds. The first of equal ones is the one that messages name.
const TIMES: [(&str, u64); 14] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("days", 86_400_000_000_000),
    ("weeks", 604_800_000_000_000),
    ("second", 1_000_000_000),
    ("seconds", 1_000_000_000),
    ("minutes", 60_000_000_000),
    ("hour", 3_600_000_000_000),
    ("hours", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("day", 86_400_000_000_000),
    ("week", 604_800_000_000_000),
];

/// Units of size, each with its bytes.
const SIZES: [(&str, u64); 9] = [
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
    ("KiB", 1 << 10),
    ("kB", 1_000),
];

/// Units of rate, each with its bits per second.
const RATES: [(&str, u64); 3] = [("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000), ("kbit/s", 1_000)];

/// Reads a duration such as `"10s"` or `"30 days"`.
pub fn duration(text: &str) -> Result<Duration, Complaint> {
    let remedy = "write a number and one of ms, s, min, h, days, weeks, like \"30 days\"";
    let nanos = quantity(text, &TIMES, "duration", remedy)?;
    Ok(Duration::from_nanos(nanos))
}

/// `duration` as [`duration`](fn@duration) reads it, in the largest unit that says it exactly. What is below a millisecond is
/// left out.
pub fn show_duration(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let exact = |(_, scale): &&(&str, u64)| nanos.is_multiple_of(*scale);
    // Years are asked for in days.
    let units = &TIMES[..5];
    let (unit, scale) = units.iter().rev().find(exact).unwrap_or(&units[0]);
    format!("{} {unit}", nanos / scale)
}

/// Reads a number of bytes such as `"4 GiB"`.
pub fn bytes(text: &str) -> Result<u64, Complaint> {
    let remedy = "write a number and one of MiB, GiB, TiB, MB, GB, TB, like \"4 GiB\"";
    quantity(text, &SIZES, "size", remedy)
}

/// Reads bits per second such as `"4 Mbit/s"`.
pub fn bits_per_second(text: &str) -> Result<u64, Complaint> {
    let remedy = "write a number and one of kbit/s, Mbit/s, Gbit/s, like \"4 Mbit/s\"";
    quantity(text, &RATES, "rate", remedy)
}

fn quantity(text: &str, units: &[(&str, u64)], noun: &str, remedy: &str) -> Result<u64, Complaint> {
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim_start();
    let Ok(number) = number.parse::<u64>() else {
        let what = if digits == 0 { "does not begin with a whole number" } else { "is too large" };
        return Err(Complaint::new(format!("{} {what}", quoted(text)), remedy));
    };
    if unit.is_empty() {
        return Err(Complaint::new(format!("{} has no unit", quoted(text)), remedy));
    }
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        let meant = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let remedy =
            meant.map_or_else(|| remedy.to_owned(), |(name, _)| format!("did you mean \"{number} {name}\"?"));
        return Err(Complaint::new(format!("{} has no unit of {noun}", quoted(text)), remedy));
    };
    number.checked_mul(*scale).ok_or_else(|| Complaint::new(format!("{} is too large", quoted(text)), remedy))
}

/// `bytes` as an operator reads it, to one decimal.
pub fn show_bytes(bytes: u64) -> String {
    for (unit, scale) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= scale {
            let tenths = u128::from(bytes) * 10 / u128::from(scale);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// `bits_per_second` as an operator reads it, to one decimal.
pub fn show_rate(bits_per_second: u64) -> String {
    for (unit, scale) in [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000)] {
        if bits_per_second >= scale {
            let tenths = u128::from(bits_per_second) * 10 / u128::from(scale);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{} kbit/s", bits_per_second / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_unit() {
        for (text, expected) in [
            ("1500ms", Duration::from_millis(1500)),
            ("10s", Duration::from_secs(10)),
            ("5 min", Duration::from_secs(300)),
            (" 2  h ", Duration::from_secs(7200)),
            ("30 days", Duration::from_secs(30 * 86_400)),
            ("1 week", Duration::from_secs(7 * 86_400)),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for (text, expected) in
            [("4 GiB", 4 << 30), ("500GiB", 500 << 30), ("1 TB", 1_000_000_000_000), ("0 B", 0)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn rates_are_read_with_their_unit_and_shown_in_it() {
        for (text, expected) in [("4 Mbit/s", 4_000_000), ("1Gbit/s", 1_000_000_000), ("64 kbit/s", 64_000)] {
            assert_eq!(bits_per_second(text), Ok(expected), "{text}");
        }
        let complaint = bits_per_second("4 mbit/s").unwrap_err();
        assert_eq!(complaint.remedy, "did you mean \"4 Mbit/s\"?");
        for (rate, text) in
            [(20_000_000_000, "20.0 Gbit/s"), (576_000_000, "576.0 Mbit/s"), (64_000, "64 kbit/s")]
        {
            assert_eq!(show_rate(rate), text);
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_is_read() {
        for (seconds, text) in [(30 * 86_400, "30 days"), (90, "90 s"), (5400, "90 min"), (7200, "2 h")] {
            let exact = Duration::from_secs(seconds);
            assert_eq!(show_duration(exact), text);
            assert_eq!(duration(text), Ok(exact));
        }
        assert_eq!(show_duration(Duration::from_millis(1500)), "1500 ms");
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_a_remedy() {
        for (text, what) in [
            ("", "\"\" does not begin with a whole number"),
            ("days", "\"days\" does not begin with a whole number"),
            ("-1 s", "\"-1 s\" does not begin with a whole number"),
            ("30", "\"30\" has no unit"),
            ("1.5 h", "\"1.5 h\" has no unit of duration"),
            ("4 GiB", "\"4 GiB\" has no unit of duration"),
            ("99999999999999999999 s", "\"99999999999999999999 s\" is too large"),
            ("18446744073709551615 s", "\"18446744073709551615 s\" is too large"),
        ] {
            let complaint = duration(text).unwrap_err();
            assert_eq!(complaint.what, what);
            assert!(complaint.remedy.contains("like \"30 days\""), "{}", complaint.remedy);
        }
        assert_eq!(bytes("5 gb").unwrap_err().remedy, "did you mean \"5 GB\"?");
        assert_eq!(duration("30 Days").unwrap_err().remedy, "did you mean \"30 days\"?");
    }

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(show_bytes(count), text);
        }
    }
}
