//! Files that others write while we read: what they looked like, and whether their writer has come to rest.
//!
//! A stamp costs one `stat`. What the kernel could tell us of changes (inotify) it cannot tell of network file systems,
//! and where a link of a chain of links is replaced, as certbot and Kubernetes do, the watched file is another's.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whether a file that was written a moment ago is taken already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Somebody says that it is complete.
    None,
    /// Nobody says anything: its writer may not have finished.
    UntilSettled,
}

/// What a file looked like, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// Changes with everything that the owner cannot turn back: a `touch`, a rename, a mode.
    changed: (i64, i64),
}

impl Stamp {
    /// `None` when there is no such file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether the last change is so long ago that the writer has finished, and that another change would show: the
    /// kernel's clock for files ticks slower than a program writes. A time in the far future says nothing and settles.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let at = |(seconds, nanoseconds): (i64, i64)| {
            let (seconds, nanoseconds) = (seconds.try_into().ok()?, nanoseconds.try_into().ok()?);
            UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
        };
        [self.modified, self.changed]
            .into_iter()
            .filter_map(at)
            .all(|at| match now.duration_since(at) {
                Ok(since) => since >= SETTLE,
                // The clock of a file server may be ahead of ours.
                Err(ahead) => ahead.duration() >= SETTLE,
            })
    }
}

/// Reads a file, and nothing that is none: to open a pipe would wait for whoever writes to it.
pub(super) fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > bytes_max) {
        return Err(io::Error::other(format!(
            "it has more than {bytes_max} bytes"
        )));
    }
    Ok(bytes)
}

/// A program that writes a file does so in one go; a second is a hundred times that.
const SETTLE: Duration = Duration::from_secs(1);
