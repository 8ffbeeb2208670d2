//! Newer Debians in folders, with the servers that this one has not: made once and kept in the target directory.
//! Folders and not machines: the suite runs their servers under chroot, in the namespace that all its servers share.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::command::Run;

/// The releases, as the archive calls them, the oldest first.
const RELEASES: &[&str] = &["trixie", "forky"];

/// What is put into each beside the smallest system. debootstrap does not find what another package only provides, so
/// Prosody's libraries are named.
const PACKAGES: &str =
    "ejabberd,prosody,lua-unbound,lua-bitop,lua-sec,lua-socket,lua-expat,lua-filesystem";

const ARCHIVE: &str = "http://deb.debian.org/debian";

/// As long as a slow mirror takes, tripled.
const BOOTSTRAP_MAX: Duration = Duration::from_secs(20 * 60);

/// Makes what is not there yet.
pub(super) fn make(roots: &Path) -> Result<()> {
    fs::create_dir_all(roots).with_context(|| format!("making {}", roots.display()))?;
    for release in RELEASES {
        let root = roots.join(release);
        if root.join(DONE).exists() {
            continue;
        }
        if root.exists() {
            // Half made: debootstrap does not go on where it stopped.
            fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))?;
        }
        bootstrap(release, &root)?;
        fs::write(root.join(DONE), "made by xtask\n")?;
    }
    Ok(())
}

/// In a process namespace of its own: whatever an installation starts in there ends with it.
fn bootstrap(release: &str, root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("usr/sbin"))?;
    let policy = root.join("usr/sbin/policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n")?;
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755))?;
    let done = Run::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["debootstrap", "--variant=minbase"])
        .args([format!("--include={PACKAGES}"), release.to_owned()])
        .args([root])
        // The script of the release in development serves all that came after it: this debootstrap may not know them.
        .args([ARCHIVE, "/usr/share/debootstrap/scripts/sid"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .deadline(BOOTSTRAP_MAX)
        .go()
        .context("running debootstrap (Debian package debootstrap)")?;
    if !done.is_success() {
        bail!("debootstrap {release}: {}", done.ending());
    }
    Ok(())
}

/// Stands in a folder that is whole.
const DONE: &str = "verona-interop-ready";
