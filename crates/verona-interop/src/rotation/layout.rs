//! Where the usual tools keep a certificate and its key, and how they replace them.
//! Why by hand: the tools want an authority on the network; what matters here is what they leave on disk, and when.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::certs::Issued;

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `NAME.pem`, chain and key.
    Hand,
    /// `live/NAME/fullchain.pem` and `privkey.pem`, links into `archive/NAME`.
    Certbot,
    /// `NAME.crt` and `NAME.key`.
    Lego,
    /// `NAME_ecc/fullchain.cer` and `NAME.key`.
    Acme,
    /// `ISSUER/NAME/NAME.crt` and `NAME.key`.
    Caddy,
    /// `NAME/tls.crt` and `tls.key`, links into a directory that is replaced by a link.
    Kubernetes,
}

/// What a look in the midst of a renewal finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// Half of the new chain.
    Half,
    /// The new chain, and the old key.
    ChainFirst,
    /// The new key, and the old chain.
    KeyFirst,
}

/// The certificate of a name below a directory.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The tool that keeps it.
    pub(super) layout: Layout,
    root: PathBuf,
    name: String,
}

impl Layout {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::Hand,
        Self::Certbot,
        Self::Lego,
        Self::Acme,
        Self::Caddy,
        Self::Kubernetes,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Hand => "hand",
            Self::Certbot => "certbot",
            Self::Lego => "lego",
            Self::Acme => "acme.sh",
            Self::Caddy => "caddy",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// What `[tls] certificates` has to name below `root`.
    #[must_use]
    pub(super) fn directory(self, root: &Path) -> PathBuf {
        let own = root.join(self.word());
        match self {
            Self::Certbot => own.join("live"),
            Self::Hand | Self::Lego | Self::Acme | Self::Caddy | Self::Kubernetes => own,
        }
    }
}

impl Place {
    /// The place of `name` below `root`.
    #[must_use]
    pub(super) fn new(layout: Layout, root: &Path, name: &str) -> Self {
        Self {
            layout,
            root: root.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Begins to replace `old` by `new`, the one with this number, and stops halfway.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn begin(
        &self,
        old: &Issued,
        new: &Issued,
        number: u64,
        between: Between,
    ) -> Result<()> {
        let (chain, key) = match between {
            Between::Half => (half(new.certificate()), None),
            Between::ChainFirst => (new.certificate(), None),
            Between::KeyFirst => (old.certificate(), Some(new.key())),
        };
        match self.layout {
            Layout::Hand => put(
                &self.hand(),
                &format!("{chain}{}", key.unwrap_or(old.key())),
            ),
            Layout::Certbot => {
                self.archive(new, number)?;
                let file = match between {
                    Between::Half | Between::ChainFirst => "fullchain",
                    Between::KeyFirst => "privkey",
                };
                self.lead(file, number)
            }
            Layout::Lego | Layout::Acme | Layout::Caddy => {
                let (chain_file, key_file) = self.pair();
                match key {
                    Some(key) => put(&key_file, key),
                    None => put(&chain_file, chain),
                }
            }
            // The new directory is there, and nothing leads to it.
            Layout::Kubernetes => self.version(new, number),
        }
    }

    /// Puts all of `new`, the one with this number, where it belongs.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn finish(&self, new: &Issued, number: u64) -> Result<()> {
        match self.layout {
            Layout::Hand => put(&self.hand(), &format!("{}{}", new.certificate(), new.key())),
            Layout::Certbot => {
                self.archive(new, number)?;
                self.lead("privkey", number)?;
                self.lead("fullchain", number)
            }
            Layout::Lego | Layout::Acme | Layout::Caddy => {
                let (chain_file, key_file) = self.pair();
                put(&key_file, new.key())?;
                put(&chain_file, new.certificate())
            }
            Layout::Kubernetes => {
                self.version(new, number)?;
                let own = self.directory().join(&self.name);
                lead(&own.join("..data"), &format!("..{number}"))?;
                for file in ["tls.crt", "tls.key"] {
                    lead(&own.join(file), &format!("..data/{file}"))?;
                }
                if number > 1 {
                    fs::remove_dir_all(own.join(format!("..{}", number - 1)))?;
                }
                Ok(())
            }
        }
    }

    fn directory(&self) -> PathBuf {
        self.layout.directory(&self.root)
    }

    fn hand(&self) -> PathBuf {
        self.directory().join(format!("{}.pem", self.name))
    }

    /// Chain and key of those that keep two plain files.
    fn pair(&self) -> (PathBuf, PathBuf) {
        let name = &self.name;
        let directory = match self.layout {
            Layout::Acme => self.directory().join(format!("{name}_ecc")),
            Layout::Caddy => self.directory().join("authority.lit-directory").join(name),
            Layout::Hand | Layout::Certbot | Layout::Lego | Layout::Kubernetes => self.directory(),
        };
        let chain = match self.layout {
            Layout::Acme => "fullchain.cer".to_owned(),
            Layout::Hand | Layout::Certbot | Layout::Lego | Layout::Caddy | Layout::Kubernetes => {
                format!("{name}.crt")
            }
        };
        (directory.join(chain), directory.join(format!("{name}.key")))
    }

    /// certbot keeps every certificate, numbered.
    fn archive(&self, new: &Issued, number: u64) -> Result<()> {
        let archive = self
            .root
            .join(self.layout.word())
            .join("archive")
            .join(&self.name);
        put(
            &archive.join(format!("fullchain{number}.pem")),
            new.certificate(),
        )?;
        put(&archive.join(format!("privkey{number}.pem")), new.key())
    }

    fn lead(&self, file: &str, number: u64) -> Result<()> {
        let live = self
            .directory()
            .join(&self.name)
            .join(format!("{file}.pem"));
        lead(
            &live,
            &format!("../../archive/{}/{file}{number}.pem", self.name),
        )
    }

    fn version(&self, new: &Issued, number: u64) -> Result<()> {
        let version = self
            .directory()
            .join(&self.name)
            .join(format!("..{number}"));
        put(&version.join("tls.crt"), new.certificate())?;
        put(&version.join("tls.key"), new.key())
    }
}

/// Writes a file as the tools do: over the one that is there.
fn put(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// Has `link` lead to `target`, at one moment.
fn lead(link: &Path, target: &str) -> Result<()> {
    fs::create_dir_all(link.parent().unwrap_or(Path::new("/")))?;
    let mut new = link.as_os_str().to_owned();
    new.push(".new");
    symlink(target, &new)?;
    fs::rename(&new, link)?;
    Ok(())
}

fn half(text: &str) -> &str {
    text.get(..text.len() / 2).unwrap_or_default()
}
