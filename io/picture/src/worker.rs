//! The worker: reads requests from standard input, decodes, writes pictures to standard output. Nothing else.

mod confine;
mod decode;
mod picture;

use std::io;
use std::process::ExitCode;

use crate::frame::{REQUEST_BYTES_MAX, Reply, Request, read_frame, write_frame};

/// Gives up everything but standard input and output, then serves requests until the input ends. For a process that was
/// started for this alone: there is no way back.
pub fn run() -> ExitCode {
    let confined = confine::confine();
    // The locks of standard input and output are not needed: there is one thread.
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let ready = match &confined {
        Ok(()) => Reply::Ready,
        Err(error) => Reply::Failed(format!("it cannot be confined: {error}")),
    };
    if write_frame(&mut output, &ready.to_frame()).is_err() || confined.is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        match read_frame(&mut input, REQUEST_BYTES_MAX) {
            Ok(None) => return ExitCode::SUCCESS,
            Ok(Some(content)) => {
                if write_frame(&mut output, &answer(&content).to_frame()).is_err() {
                    // Nobody reads any more.
                    return ExitCode::SUCCESS;
                }
            }
            Err(_) => return ExitCode::FAILURE,
        }
    }
}

fn answer(content: &[u8]) -> Reply {
    let made = Request::parse(content)
        .map_err(|error| error.to_string())
        .and_then(|request| decode::decode(&request).map_err(|error| error.to_string()));
    made.map_or_else(Reply::Failed, Reply::Picture)
}
