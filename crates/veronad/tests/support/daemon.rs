//! The binary as a daemon that runs, with its log.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic, and each test file uses its part"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Child, command, write};

/// A daemon that runs, and its log.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    lines: mpsc::Receiver<String>,
    pub(crate) log: String,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(dir: &Path, config: &str) -> Self {
        Self::start_with(dir, config, |_| {})
    }

    pub(crate) fn start_with(dir: &Path, config: &str, adjust: impl FnOnce(&mut Command)) -> Self {
        write(&dir.join("verona.toml"), config);
        let mut command = command(dir, &["run", "-c", "verona.toml"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        adjust(&mut command);
        let mut child = Child(command.spawn().unwrap());
        let lines = follow(child.0.stderr.take().unwrap());
        let mut daemon = Self {
            child,
            lines,
            log: String::new(),
        };
        daemon.wait_for("verona is ready");
        daemon
    }

    /// Waits until the log has a line with `text`.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.log.push_str(&line);
                    self.log.push('\n');
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("no line with {text:?} in\n{}", self.log),
            }
        }
    }

    /// Waits for the end: status and the rest of the log.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        let status = self.child.0.wait().unwrap();
        (status.code(), std::mem::take(&mut self.log))
    }
}

fn follow(stderr: ChildStderr) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The address that a line of the log names.
pub(crate) fn address(line: &str) -> String {
    let (_, rest) = line.split_once("address=").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}
