//! What every search of the network is asked for, whether for cameras or for recorders: addresses, and a time.

use std::time::Duration;

use keepwatch_onvif::discovery::{AddressRange, RangeError};
use keepwatch_web::{FieldError, Problem};

/// Most ranges of one scan: together as many addresses as are asked in five minutes.
const RANGES_MAX: usize = 16;
/// Longest wait for answers.
const SECONDS_MAX: u64 = 60;

/// A search that can be begun.
#[derive(Debug)]
pub struct Search {
    /// What is asked address by address; empty for all networks.
    pub ranges: Vec<AddressRange>,
    /// How long answers are waited for.
    pub time_max: Duration,
    /// Where it looks, in words.
    pub searched: String,
}

impl Search {
    /// Reads what was asked for: ranges as text, and a time of 1 to 60 seconds.
    ///
    /// # Errors
    /// With all that is wrong, by field.
    pub fn read(addresses: &[String], seconds: u64) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        if !(1..=SECONDS_MAX).contains(&seconds) {
            errors.push(FieldError::new("seconds", format!("{seconds} is not between 1 and {SECONDS_MAX}")));
        }
        if addresses.len() > RANGES_MAX {
            let detail = format!("there are more than {RANGES_MAX}; scan them in turn");
            errors.push(FieldError::new("addresses", detail));
        }
        let mut ranges = Vec::new();
        for (position, text) in addresses.iter().take(RANGES_MAX).enumerate() {
            match text.parse() {
                Ok(range) => ranges.push(range),
                Err(error) => {
                    let error: RangeError = error;
                    errors.push(FieldError::new(format!("addresses[{position}]"), error.to_string()));
                }
            }
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        let searched = if addresses.is_empty() { "all networks".to_owned() } else { addresses.join(", ") };
        Ok(Self { ranges, time_max: Duration::from_secs(seconds), searched })
    }
}

/// There is no scan `id`: only the last one is kept.
pub fn scan_unknown(id: &str) -> Problem {
    let shown: String = id.chars().take(64).collect();
    Problem::not_found("scan_unknown", format!("no scan {shown:?}; only the last one is kept"))
}
