//! What outlives the process: `peers.json` in the state directory, read at the start and written after each change.
//!
//! What was learned about peers is worth having and never worth failing for: whatever is wrong with the file or its
//! directory is told once, and the daemon serves on.

mod document;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use verona::{Handle, LearnedPeer};

use crate::config::cause;
use document::{FILE_BYTES_MAX, Unreadable};

/// The state directory.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Nothing is made or read yet.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What an earlier run learned. A file that cannot be read is put aside, so that the next one takes its place.
    pub(crate) fn load(&self) -> Vec<LearnedPeer> {
        let path = self.file();
        let trouble = match read(&path) {
            Ok(None) => return Vec::new(),
            Ok(Some(bytes)) => match document::read(&bytes) {
                Ok(read) => {
                    tracing::info!(
                        file = %path.display(),
                        peers = read.peers.len(),
                        ignored = read.ignored,
                        "what earlier runs learned about peers was read"
                    );
                    return read.peers;
                }
                Err(Unreadable::Newer(version)) => format!(
                    "it has version {version}, and this verona knows version {}",
                    document::VERSION
                ),
                Err(Unreadable::Corrupt(cause)) => cause,
            },
            Err(error) => cause(&error),
        };
        let aside = path.with_extension("json.aside");
        match std::fs::rename(&path, &aside) {
            Ok(()) => tracing::warn!(
                file = %path.display(),
                aside = %aside.display(),
                "what was learned about peers cannot be read and was put aside; learning begins anew: {trouble}"
            ),
            Err(_) => tracing::warn!(
                file = %path.display(),
                "what was learned about peers cannot be read; learning begins anew: {trouble}"
            ),
        }
        Vec::new()
    }

    /// Replaces the file by another, whole: a reader, and a start after a crash, see the one or the other.
    fn save(&self, peers: &[LearnedPeer]) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        let (path, new) = (self.file(), self.directory.join("peers.json.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&document::write(peers, std::time::SystemTime::now()))?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(&self.directory)?.sync_all()
    }

    fn file(&self) -> PathBuf {
        self.directory.join("peers.json")
    }
}

/// Writes what is known whenever it has changed, until it is told to finish.
#[derive(Debug)]
pub(crate) struct Keeper {
    task: JoinHandle<()>,
    finish: oneshot::Sender<()>,
}

impl Keeper {
    /// Begins, and writes at once: whether the directory can be written is better known early.
    pub(crate) fn start(store: Store, handle: Handle) -> Self {
        let (finish, finished) = oneshot::channel();
        Self {
            task: tokio::spawn(keep(store, handle, finished)),
            finish,
        }
    }

    /// Writes the last change, and ends.
    pub(crate) async fn finish(self) {
        // A task that has ended needs no telling.
        let _ = self.finish.send(());
        if tokio::time::timeout(LAST_WRITE, self.task).await.is_err() {
            tracing::warn!(
                "the disk is too slow: the latest that was learned about peers was not kept"
            );
        }
    }
}

async fn keep(store: Store, handle: Handle, mut finished: oneshot::Receiver<()>) {
    let mut kept = None;
    let mut health = Health::Unknown;
    let mut rest_until = Instant::now();
    let mut clock = tokio::time::interval(INTERVAL);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = clock.tick() => false,
            _ = &mut finished => true,
        };
        let revision = handle.learned_revision();
        if kept != Some(revision) && (last || rest_until <= Instant::now()) {
            let began = Instant::now();
            let peers: Vec<LearnedPeer> = handle
                .peers()
                .into_iter()
                .map(|peer| peer.learned)
                .filter(document::is_worth_keeping)
                .collect();
            let writer = store.clone();
            let saved = tokio::task::spawn_blocking(move || writer.save(&peers)).await;
            match saved.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(()) => {
                    kept = Some(revision);
                    health = health.works(&store.directory);
                }
                Err(error) => health = health.fails(&store.directory, &error),
            }
            rest_until = Instant::now() + (began.elapsed() * REST_FACTOR).min(REST_MAX);
        }
        if last {
            return;
        }
    }
}

/// Whether the directory can be written, as far as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Unknown,
    Works,
    Fails,
}

impl Health {
    fn works(self, directory: &Path) -> Self {
        match self {
            Self::Unknown | Self::Works => {}
            Self::Fails => {
                tracing::info!(directory = %directory.display(), "what is learned about peers is kept again");
            }
        }
        Self::Works
    }

    fn fails(self, directory: &Path, error: &io::Error) -> Self {
        match self {
            Self::Unknown | Self::Works => tracing::warn!(
                directory = %directory.display(),
                "what is learned about peers is not kept over a restart: {}; make the directory writable, or name \
                 another as `[state] directory` (with systemd: `StateDirectory=verona`)",
                cause(error)
            ),
            Self::Fails => {}
        }
        Self::Fails
    }
}

/// The bytes of the file; `None` when there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        // To open a pipe would wait for whoever writes to it.
        Ok(_) => return Err(io::Error::other("it is not a file")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(io::Error::other(format!(
            "it has more than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(Some(bytes))
}

/// How often is looked for changes; a change waits little longer than this.
const INTERVAL: Duration = Duration::from_secs(2);

/// A write that took long is followed by a rest so many times as long: thousands of peers that fail at once are no
/// reason to write all the time.
const REST_FACTOR: u32 = 20;

/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(60);

/// For the last write before the end.
const LAST_WRITE: Duration = Duration::from_secs(5);
