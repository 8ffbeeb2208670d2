//! What the kernel says of processes and of the machine.
//! Why CPU seconds before all else: on a machine that others use too they are what a server took and not what it was given.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// The processes of one server.
#[derive(Clone, Debug)]
pub(crate) struct Family(BTreeSet<u32>);

impl Family {
    /// These and all that they have started so far.
    pub(crate) fn of(roots: &[u32]) -> Self {
        let mut all: BTreeSet<u32> = roots.iter().copied().collect();
        loop {
            let before = all.len();
            for id in processes() {
                if parent(id).is_some_and(|parent| all.contains(&parent)) {
                    all.insert(id);
                }
            }
            if all.len() == before {
                return Self(all);
            }
        }
    }

    /// This program.
    pub(crate) fn own() -> Self {
        Self(BTreeSet::from([std::process::id()]))
    }

    /// The CPU time that all their threads have taken, the system's part included.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut ticks = 0;
        for id in &self.0 {
            let text = fs::read_to_string(format!("/proc/{id}/stat"))
                .with_context(|| format!("the process {id} is gone"))?;
            ticks += ticks_of(&text).with_context(|| format!("reading {text:?}"))?;
        }
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// The resident memory of all, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.0
            .iter()
            .filter_map(|id| verona_interop::process::resident_kib(*id))
            .sum()
    }
}

/// The machine as far as it matters to the figures.
pub(crate) fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("model name"))
                .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("MemTotal:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        })
        .unwrap_or_default();
    let kernel = said(Path::new("uname"), &["-sr"]).unwrap_or_default();
    format!(
        "{processor}, {cores} cores, {} GiB, {kernel}",
        memory / 1024 / 1024
    )
}

/// How many processes wanted a processor in the last minute.
pub(crate) fn load_average() -> f64 {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

/// The version of a Debian package.
pub(crate) fn package_version(package: &str) -> String {
    said(
        Path::new("dpkg-query"),
        &["--show", "--showformat=${Version}", package],
    )
    .unwrap_or_else(|| "?".to_owned())
}

/// What a program prints, when it ends well.
pub(crate) fn said(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether the system lets this program, and each that it starts, have so many connections.
pub(crate) fn has_descriptors(number: u64) -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits").context("reading our limits")?;
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(u64::MAX);
    ensure!(
        soft >= number,
        "a process may have {soft} open files here, and {number} are needed: `ulimit -n {number}`"
    );
    Ok(())
}

fn processes() -> Vec<u32> {
    fs::read_dir("/proc").map_or_else(
        |_| Vec::new(),
        |entries| {
            entries
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
                .collect()
        },
    )
}

fn parent(id: u32) -> Option<u32> {
    fields(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
        .nth(1)?
        .parse()
        .ok()
}

fn ticks_of(stat: &str) -> Option<u64> {
    let mut fields = fields(stat).skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// What follows the program's name, which may have spaces and brackets in it; the first is the state.
fn fields(stat: &str) -> std::str::SplitWhitespace<'_> {
    stat.rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
}

/// Linux shows the times of processes in hundredths of a second on every machine (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_stand_where_the_kernel_puts_them() {
        let stat = "7 (a (b) c) S 3 7 7 0 -1 4194304 1 2 3 4 250 50 9 9 20 0 1 0 5";
        assert_eq!(ticks_of(stat), Some(300));
        assert_eq!(fields(stat).nth(1), Some("3"));
    }

    #[test]
    fn work_shows_in_our_own_time() {
        let own = Family::own();
        let before = own.cpu().unwrap_or_default();
        let mut sum = 0_u64;
        let until = std::time::Instant::now() + Duration::from_millis(200);
        while std::time::Instant::now() < until {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(own.cpu().unwrap_or_default() > before);
    }
}
