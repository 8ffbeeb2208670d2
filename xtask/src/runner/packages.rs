//! The Debian packages that tests and the interop suite drive: looked for, and installed by root.
//! No service may start: a server on the standard ports would answer in the place of the one under test.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Place;
use super::command::Run;
use super::stage::Outcome;

const PACKAGES: &[&str] = &[
    "prosody",
    "lua-unbound",
    "python3-lxml",
    "python3-slixmpp",
    "unbound",
    "knot",
    "ldnsutils",
    "openssl",
    "expat",
    "libxml2-utils",
    "iproute2",
    "haproxy",
    "biboumi",
    "ngircd",
    "jabber-muc",
    "go-sendxmpp",
    "nodejs",
    "npm",
    "ejabberd",
    "jabberd2",
    "debootstrap",
    "valgrind",
];

/// What may be there from elsewhere, by the program that is wanted of it: Debian's npm and another Node.js exclude each
/// other.
const PROGRAMS: &[(&str, &str)] = &[("nodejs", "/usr/bin/node"), ("npm", "/usr/bin/npm")];

/// Programs that these packages could leave running.
const SERVICES: &[&str] = &[
    "prosody",
    "unbound",
    "haproxy",
    "knotd",
    "biboumi",
    "ngircd",
    "epmd",
    "beam.smp",
    "jabberd2-router",
    "jabberd2-s2s",
    "jabberd2-c2s",
    "jabberd2-sm",
];

const INSTALL_MAX: Duration = Duration::from_secs(20 * 60);

/// Makes sure that the packages are there, or says which are not.
pub(super) fn install(place: &Place) -> Outcome {
    let absent = missing();
    if absent.is_empty() {
        println!("all there: {}", PACKAGES.join(" "));
        return Outcome::passed();
    }
    println!("missing: {}", absent.join(" "));
    let fault = match can_install() {
        Ok(()) => install_missing(place, &absent)
            .err()
            .map(|error| format!("{error:#}")),
        Err(why) => Some(why.to_owned()),
    };
    let absent = missing();
    match fault {
        None if absent.is_empty() => Outcome::passed(),
        fault => {
            let fault = fault.unwrap_or_else(|| "apt-get did not bring them".to_owned());
            for package in &absent {
                println!("not run: {package} is not installed ({fault})");
            }
            if place.is_ci {
                Outcome::failed(fault)
            } else {
                // The suite itself counts the cases that it has to leave out.
                let mut outcome = Outcome::not_run(fault);
                outcome.tally.skipped = 0;
                outcome
            }
        }
    }
}

fn missing() -> Vec<&'static str> {
    PACKAGES
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect()
}

fn is_installed(package: &str) -> bool {
    let program = PROGRAMS.iter().find(|(name, _)| *name == package);
    if program.is_some_and(|(_, path)| Path::new(path).exists()) {
        return true;
    }
    let asked = Run::new("dpkg-query")
        .args(["--show", "--showformat=${Status}", package])
        .quiet()
        .go();
    asked.is_ok_and(|done| {
        done.is_success() && done.lines.iter().any(|line| line.ends_with(" installed"))
    })
}

fn can_install() -> Result<(), &'static str> {
    let is_root = Run::new("id").args(["--user"]).quiet().go();
    if !is_root.is_ok_and(|done| done.lines == ["0"]) {
        return Err("only root can install it");
    }
    if !Run::new("apt-get")
        .args(["--version"])
        .quiet()
        .go()
        .is_ok_and(|done| done.is_success())
    {
        return Err("there is no apt here");
    }
    Ok(())
}

/// Fetches the packages and installs them where what they start cannot be reached and ends with the installation:
/// ejabberd's leaves a port mapper of Erlang on every address.
fn install_missing(place: &Place, absent: &[&str]) -> Result<()> {
    let before = running();
    let policy = Policy::keep_services_down(Path::new("/usr/sbin/policy-rc.d"))?;
    if let Err(error) = apt(&["update"]) {
        // What is known already may be enough.
        println!("{error:#}");
    }
    // Machines made for containers throw fetched packages away at once, so they go where nobody does.
    let archives = place.target.join("packages");
    fs::create_dir_all(archives.join("partial"))
        .with_context(|| format!("making {}", archives.display()))?;
    let archives = format!("Dir::Cache::archives={}", archives.display());
    let install = |more: &str| {
        let mut arguments = vec!["-o", &archives, "install", "--yes"];
        arguments.extend(["--no-install-recommends", more]);
        arguments.extend_from_slice(absent);
        arguments
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    apt_get(Run::new("apt-get"), &install("--download-only"))?;
    apt_get(apart("apt-get"), &install("--no-download"))?;
    drop(policy);
    let started: Vec<String> = running().difference(&before).cloned().collect();
    if !started.is_empty() {
        bail!(
            "the installation started {}: stop it, it would answer for the server under test",
            started.join(", ")
        );
    }
    Ok(())
}

/// `program` in a process and a network namespace of its own: what it leaves behind ends with it.
fn apart(program: &str) -> Run {
    const APART: &[&str] = &["--pid", "--fork", "--kill-child", "--net", "--mount-proc"];
    let tried = Run::new("unshare").args(APART).args(["true"]).quiet().go();
    if tried.is_ok_and(|done| done.is_success()) {
        Run::new("unshare").args(APART).args([program])
    } else {
        Run::new(program)
    }
}

fn apt(arguments: &[&str]) -> Result<()> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    apt_get(Run::new("apt-get"), &arguments)
}

fn apt_get(apt_get: Run, arguments: &[String]) -> Result<()> {
    let done = apt_get
        // Somebody else's apt may be at work; it ends.
        .args(["--quiet", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .deadline(INSTALL_MAX)
        .go()?;
    if !done.is_success() {
        bail!("apt-get {}: {}", arguments.join(" "), done.ending());
    }
    Ok(())
}

/// The services among the running programs, each with its process id.
fn running() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(command) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let words = String::from_utf8_lossy(&command);
        // Prosody is a script: its interpreter comes first, its own path second.
        for word in words.split('\0').take(2) {
            let name = word.rsplit('/').next().unwrap_or_default();
            if SERVICES.contains(&name) {
                found.insert(format!(
                    "{name} (process {})",
                    entry.file_name().to_string_lossy()
                ));
            }
        }
    }
    found
}

/// Debian asks this file whether a package may start its service; 101 is "no". It is put back as it was
/// when this value is dropped, whatever happened between.
struct Policy {
    path: PathBuf,
    /// Where the machine's own file waits.
    kept: Option<PathBuf>,
    is_ours: bool,
}

impl Policy {
    fn keep_services_down(path: &Path) -> Result<Self> {
        let mut policy = Policy {
            path: path.to_path_buf(),
            kept: None,
            is_ours: false,
        };
        if path.exists() {
            let says = Run::new(path)
                .args(["verona-interop", "start"])
                .quiet()
                .go();
            if says.is_ok_and(|done| done.code() == Some(101)) {
                return Ok(policy);
            }
            let kept = path.with_extension("d.kept-by-verona");
            fs::rename(path, &kept).with_context(|| format!("moving {}", path.display()))?;
            policy.kept = Some(kept);
        }
        policy.is_ours = true;
        fs::write(path, "#!/bin/sh\nexit 101\n")
            .with_context(|| format!("writing {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("making {} executable", path.display()))?;
        Ok(policy)
    }

    fn restore(&mut self) -> io::Result<()> {
        if !self.is_ours {
            return Ok(());
        }
        self.is_ours = false;
        match self.kept.take() {
            Some(kept) => fs::rename(kept, &self.path),
            None => fs::remove_file(&self.path),
        }
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            println!("{} is not as it was: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that cannot write its files fails"
    )]

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("verona-policy-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        fn policy(&self) -> PathBuf {
            self.0.join("policy-rc.d")
        }

        fn answer(&self) -> Option<i32> {
            // Through the shell: to execute a file that was just written can fail while other tests fork.
            let asked = Run::new("sh").args([self.policy()]).quiet().go();
            asked.unwrap().code()
        }

        fn write(&self, answer: i32) {
            fs::write(self.policy(), format!("#!/bin/sh\nexit {answer}\n")).unwrap();
            fs::set_permissions(self.policy(), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn the_policy_answers_no_and_goes_away() {
        let scratch = Scratch::new("none");
        let policy = Policy::keep_services_down(&scratch.policy()).unwrap();
        assert_eq!(scratch.answer(), Some(101));
        drop(policy);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0);
    }

    #[test]
    fn a_policy_that_says_yes_is_put_back() {
        let scratch = Scratch::new("yes");
        scratch.write(0);
        let policy = Policy::keep_services_down(&scratch.policy()).unwrap();
        assert_eq!(scratch.answer(), Some(101));
        drop(policy);
        assert_eq!(scratch.answer(), Some(0));
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
    }

    #[test]
    fn a_policy_that_says_no_already_is_left_alone() {
        let scratch = Scratch::new("no");
        scratch.write(101);
        drop(Policy::keep_services_down(&scratch.policy()).unwrap());
        assert_eq!(scratch.answer(), Some(101));
    }

    #[test]
    fn what_is_certainly_absent_is_not_found() {
        assert!(!is_installed("verona-no-such-package"));
    }
}
