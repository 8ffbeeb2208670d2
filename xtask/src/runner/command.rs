//! Runs a program: no standard input, its output shown as it comes and kept, and a deadline.
//! A stage that waits for a keyboard or for ever would take the whole run with it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A program about to run.
pub(crate) struct Run {
    command: Command,
    program: OsString,
    deadline: Duration,
    is_shown: bool,
}

impl Run {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Run {
            command,
            program: program.to_owned(),
            deadline: DEADLINE_DEFAULT,
            is_shown: true,
        }
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Keeps the output without showing it.
    pub(crate) fn quiet(mut self) -> Self {
        self.is_shown = false;
        self
    }

    /// Runs it to its end or to its deadline, when it and all that it started are killed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn go(mut self) -> Result<Done> {
        // At a terminal Ctrl-C shall reach the program, so it stays in our process group; else it gets
        // its own, so that the deadline reaches its children too.
        let has_group = !std::io::stdin().is_terminal();
        if has_group {
            self.command.process_group(0);
        }
        self.command.stdout(Stdio::piped());
        self.command.stderr(match self.is_shown {
            true => Stdio::inherit(),
            false => Stdio::null(),
        });
        let start = Instant::now();
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let output = child.stdout.take();
        let (sender, receiver) = mpsc::channel();
        let is_shown = self.is_shown;
        // Not joined: something that the program left behind may hold the pipe open for ever.
        thread::spawn(move || {
            if let Some(output) = output {
                read_lines(output, |line| {
                    if is_shown {
                        println!("{line}");
                    }
                    sender.send(line).is_ok()
                });
            }
        });
        let mut lines = Vec::new();
        let mut ended: Option<(ExitStatus, Instant)> = None;
        let mut is_late = false;
        loop {
            match receiver.recv_timeout(POLL) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if ended.is_some() => break,
                Err(RecvTimeoutError::Disconnected) => thread::sleep(POLL),
            }
            match ended {
                // Its end is known; what is still in the pipe gets a moment.
                Some((_, at)) if at.elapsed() > GRACE => break,
                Some(_) => {}
                None => {
                    ended = child
                        .try_wait()
                        .context("waiting")?
                        .map(|status| (status, Instant::now()));
                    if ended.is_none() && !is_late && start.elapsed() > self.deadline {
                        is_late = true;
                        kill(&mut child, has_group);
                    }
                }
            }
        }
        Ok(Done {
            status: ended.map(|(status, _)| status),
            late_after: is_late.then_some(self.deadline),
            took: ended.map_or_else(|| start.elapsed(), |(_, at)| at.duration_since(start)),
            lines,
        })
    }
}

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Done {
    status: Option<ExitStatus>,
    /// Set when the deadline passed and it was killed.
    late_after: Option<Duration>,
    pub(crate) took: Duration,
    /// Its standard output, by lines.
    pub(crate) lines: Vec<String>,
}

impl Done {
    pub(crate) fn is_success(&self) -> bool {
        self.late_after.is_none() && self.status.is_some_and(|status| status.success())
    }

    /// The exit code, when it ended by itself.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// How it ended, in words.
    pub(crate) fn ending(&self) -> String {
        match (self.late_after, self.status) {
            (Some(after), _) => format!("killed after {} s", after.as_secs()),
            (None, Some(status)) => status.to_string(),
            (None, None) => "its end is unknown".to_owned(),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_code(code: i32) -> Self {
        use std::os::unix::process::ExitStatusExt;
        Done {
            // The wait status of POSIX keeps the exit code in its second byte.
            status: Some(ExitStatus::from_raw(code << 8)),
            late_after: None,
            took: Duration::ZERO,
            lines: Vec::new(),
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        for argument in self.command.get_args() {
            write!(f, " {}", argument.display())?;
        }
        Ok(())
    }
}

fn read_lines(output: impl Read, mut take: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(output);
    let mut bytes = Vec::new();
    while reader
        .read_until(b'\n', &mut bytes)
        .is_ok_and(|count| count > 0)
    {
        let line = String::from_utf8_lossy(&bytes);
        if !take(line.trim_end_matches(['\n', '\r']).to_owned()) {
            return;
        }
        bytes.clear();
    }
}

/// Kills it, with its process group where it has its own.
fn kill(child: &mut Child, has_group: bool) {
    if has_group {
        // The standard library cannot signal a group; the shell's own `kill` is always there.
        let group = format!("kill -KILL -{}", child.id());
        let killed = Command::new("sh").args(["-c", &group]).status();
        if killed.is_ok_and(|status| status.success()) {
            return;
        }
    }
    if let Err(error) = child.kill() {
        println!("cannot kill it: {error}");
    }
}

const DEADLINE_DEFAULT: Duration = Duration::from_secs(10 * 60);
/// How often an end is looked for.
const POLL: Duration = Duration::from_millis(20);
/// How long output may follow the end of a program.
const GRACE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test without a shell fails")]

    use super::*;

    fn shell(script: &str) -> Run {
        Run::new("sh").args(["-c", script]).quiet()
    }

    #[test]
    fn output_and_exit_code_are_kept() {
        let done = shell("echo one; echo two; exit 3").go().unwrap();
        assert_eq!(done.lines, ["one", "two"]);
        assert_eq!(done.code(), Some(3));
        assert!(!done.is_success());
    }

    #[test]
    fn there_is_no_standard_input() {
        assert!(shell("! read line").go().unwrap().is_success());
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let start = Instant::now();
        let done = shell("sleep 60")
            .deadline(Duration::from_millis(100))
            .go()
            .unwrap();
        assert!(!done.is_success());
        assert!(
            done.ending().starts_with("killed after"),
            "{}",
            done.ending()
        );
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn what_a_program_leaves_behind_does_not_hold_us() {
        let start = Instant::now();
        let done = shell("sleep 30 & echo done").go().unwrap();
        assert!(done.is_success());
        assert_eq!(done.lines, ["done"]);
        assert!(start.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        assert!(Run::new("verona-no-such-program").go().is_err());
    }
}
