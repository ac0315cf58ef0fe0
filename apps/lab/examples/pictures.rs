//! Writes pictures of a virtual camera as raw I420 to standard output: the source of the H.265 loops under `assets`,
//! which no encoder in Rust can make. How they are made is told there.
#![expect(clippy::print_stderr, reason = "a tool for the command line")]

use std::io::{self, Write};
use std::process::ExitCode;

use keepwatch_lab::{Caption, Picture, Scene};
use keepwatch_model::WallTime;
use openh264::formats::YUVSource;

fn main() -> ExitCode {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let &[width, height, frames] = numbers.as_slice() else {
        eprintln!("usage: pictures WIDTH HEIGHT FRAMES");
        return ExitCode::FAILURE;
    };
    match write(width, height, frames) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(width: usize, height: usize, frames: usize) -> io::Result<()> {
    let mut picture = Picture::new(width, height, Scene::Calm).map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    for counter in (0_u64..).take(frames) {
        // A loop has no time of day.
        picture.draw(Caption { name: "H.265 LOOP", at: WallTime::from_ticks(0), counter });
        for plane in [picture.luma(), picture.u(), picture.v()] {
            out.write_all(plane)?;
        }
    }
    out.flush()
}
