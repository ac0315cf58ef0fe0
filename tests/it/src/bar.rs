//! The counter that virtual cameras draw into their pictures, read out of a file that ffmpeg decodes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::run;

/// Side of a block in pixels.
const BLOCK: usize = 16;
/// Blocks of each of two rows: white, black, sixteen bits, their parity, and its complement.
const BLOCKS: usize = 20;
/// How long ffmpeg may take for one picture on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The counter in the first picture of the file at `path`, whose lines have `width` pixels.
pub fn read_bar(path: &Path, width: usize) -> Result<u32> {
    let grey = path.with_extension("grey");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y", "-i"]).arg(path);
    command.args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray"]).arg(&grey);
    run(&mut command, PATIENCE)?.success()?;
    let luma = std::fs::read(grey)?;
    ensure!(luma.len() >= width * 2 * BLOCK && luma.len() % width == 0, "not {width} pixels wide");
    let mut counter = 0;
    for row in 0..2 {
        let bit = |column: usize| {
            let middle = luma.get((row * BLOCK + BLOCK / 2) * width + column * BLOCK + BLOCK / 2);
            middle.map(|shade| *shade > 126).context("no block")
        };
        let bits = (0..BLOCKS).map(bit).collect::<Result<Vec<bool>>>()?;
        let (word, end) = (bits.get(2..18).context("short")?, bits.get(18..).context("short")?);
        let parity = word.iter().filter(|bit| **bit).count() % 2 == 1;
        ensure!(bits.starts_with(&[true, false]) && end == [parity, !parity], "no counter: {bits:?}");
        counter = word.iter().fold(counter, |sum, bit| sum << 1 | u32::from(*bit));
    }
    Ok(counter)
}
