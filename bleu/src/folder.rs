//! A region's folder: what lies where, who may read it, and the lock that keeps a second process out.
//!
//! | file | what | mode |
//! |---|---|---|
//! | `region.toml` | the configuration; no secret | 0644 |
//! | `keys/root.key` | opens every other key: on a laptop a file, in production an HSM | 0600 |
//! | `keys/store.json` | which store the root key opens: its engine, and a digest that no other store has | 0600 |
//! | `lock` | held by the process that has the region open | 0600 |
//! | `store/`, `sites/NAME/` | rows and chunks, sealed | |
//! | `witness/` | the local witness: its key and what it has seen | |
//! | `ca.pem`, `ca-bundle.pem` | the region's authority; with the system's authorities beside it | 0644 |
//! | `client.json`, `tenants/*.json` | the credential of a tenant's client application, for `bleu env` | 0600 |
//! | `ready.json` | where the region answers | 0644 |
//! | `control.sock` | the running region's control socket | 0600 |
//! | `az/` | the profile of the `az` command | 0700 |

use crate::phrase;
use anyhow::{Context, Result, bail};
use crypto::Secret;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const ROOT_KEY: &str = "keys/root.key";
const OPENS: &str = "keys/store.json";
/// The largest small file that we read whole.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// An absolute path to a region's folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// The store that a root key opens: one, for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opens {
    /// `fjall`, `redb` or `postgres`.
    pub engine: String,
    /// As [`trust::Trust::store_digest`] gives it, in hex; `None` until a region is in the store.
    pub store: Option<String>,
}

/// While this lives no other process opens the region.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // closing is not enough: a process that is being started at this instant still holds a copy of the handle
        let _ = self.0.unlock();
    }
}

impl Folder {
    /// The folder, made if it is not there. Error: it holds something that is not a region's; it can't be made.
    pub fn create(path: &Path) -> Result<Folder> {
        let shown = path.display();
        let unusable = || {
            phrase!(
                "The folder '{shown}' can't be made or written. Choose another with --data, or change its owner.",
                "Le dossier « {shown} » ne peut être créé ou écrit. Choisissez-en un autre avec --data, ou changez son propriétaire."
            )
        };
        make_folder(path).with_context(unusable)?;
        let folder = Folder(path.canonicalize().with_context(unusable)?);
        let mut entries = std::fs::read_dir(&folder.0).with_context(unusable)?;
        if entries.next().is_some() && !folder.path("region.toml").exists() && !folder.path("lock").exists() {
            bail!(phrase!(
                "The folder '{shown}' holds files that are not a region's. Choose an empty one, or a new name, with --data.",
                "Le dossier « {shown} » contient des fichiers qui ne sont pas ceux d’une région. Choisissez un dossier vide ou un nouveau nom avec --data."
            ));
        }
        Ok(folder)
    }

    /// A folder in which a region was made before.
    pub fn existing(path: &Path) -> Result<Folder> {
        let shown = path.display();
        match path.canonicalize().and_then(|found| found.join("region.toml").metadata().map(|settings| (found, settings))) {
            Ok((found, settings)) if settings.is_file() => Ok(Folder(found)),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => bail!(phrase!(
                "The folder '{shown}' is another user's: a region's folder is open to its own user alone. Run this as that user.",
                "Le dossier « {shown} » est à un autre utilisateur : le dossier d’une région n’est ouvert qu’au sien. Lancez ceci comme cet utilisateur."
            )),
            _ => bail!(phrase!(
                "There is no region in '{shown}'. Start one with 'bleu up --data {shown}', or name its folder with --data.",
                "Il n’y a pas de région dans « {shown} ». Démarrez-en une avec « bleu up --data {shown} », ou indiquez son dossier avec --data."
            )),
        }
    }

    pub fn root(&self) -> &Path {
        &self.0
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Takes the region for this process. Error: another has it; says which.
    pub fn lock(&self) -> Result<Lock> {
        lock(&self.path("lock"))?.with_context(|| {
            let (shown, holder) = (self.0.display(), std::fs::read_to_string(self.path("lock")).unwrap_or_default());
            let holder = holder.trim();
            phrase!(
                "The region in '{shown}' is already running (process {holder}). Stop that process first, or start another region with another --data.",
                "La région de « {shown} » est déjà démarrée (processus {holder}). Arrêtez d’abord ce processus, ou démarrez une autre région avec un autre --data."
            )
        })
    }

    /// Whether a region was made here: before that, nothing of it is fixed.
    pub fn is_made(&self) -> bool {
        self.path(ROOT_KEY).exists()
    }

    /// The root key, made at the first start. `has_rows`: there is a store already, which some root key opens.
    pub fn root_key(&self, chance: &dyn base::Chance, has_rows: bool) -> Result<Secret<32>> {
        let path = self.path(ROOT_KEY);
        if let Some(text) = read_small(&path)? {
            keep_from_others(&path)?;
            let bytes = hex::decode(text.trim()).ok().filter(|b| b.len() == 32);
            let bytes = bytes.with_context(|| {
                let shown = path.display();
                phrase!(
                    "The root key '{shown}' is damaged. Restore it from its copy: without it nothing in the region can be opened.",
                    "La clé racine « {shown} » est endommagée. Restaurez-la depuis sa copie : sans elle, rien de la région ne peut être ouvert."
                )
            })?;
            return Ok(Secret::from_slice(&bytes)?);
        }
        if has_rows {
            let shown = path.display();
            bail!(phrase!(
                "There is a region's store, and its root key '{shown}' is missing. Restore it from its copy: without it nothing in the region can be opened. If the store is another region's database, give this region one of its own with --engine.",
                "Il y a là le stockage d’une région, et sa clé racine « {shown} » manque. Restaurez-la depuis sa copie : sans elle, rien de la région ne peut être ouvert. Si le stockage est la base d’une autre région, donnez-en une propre à celle-ci avec --engine."
            ));
        }
        let key = Secret::<32>::random(chance);
        make_folder(&self.path("keys"))?;
        write_secret(&path, format!("{}\n", hex::encode(key.expose())).as_bytes())?;
        Ok(key)
    }
}

impl Folder {
    /// Which store the root key opens; `None` where no start came so far.
    pub fn opens(&self) -> Result<Option<Opens>> {
        let path = self.path(OPENS);
        let Some(text) = read_small(&path)? else { return Ok(None) };
        let shown = path.display();
        let opens = serde_json::from_str(&text);
        opens.map(Some).with_context(|| phrase!("'{shown}' is damaged.", "« {shown} » est endommagé."))
    }

    pub fn keep_opens(&self, opens: &Opens) -> Result<()> {
        make_folder(&self.path("keys"))?;
        write_secret(&self.path(OPENS), format!("{}\n", serde_json::to_string(opens)?).as_bytes())
    }
}

/// Takes a lock file for this process; `None` when another has it.
pub fn lock(path: &Path) -> Result<Option<Lock>> {
    let shown = path.display();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| phrase!("'{shown}' can't be opened.", "« {shown} » ne peut être ouvert."))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("{shown}")),
    }
    // for whoever is refused: which process holds it
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Some(Lock(file)))
}

/// Takes from everyone but its owner what a secret's file lets them do, and says so: a copy may have been made meanwhile.
fn keep_from_others(path: &Path) -> Result<()> {
    let shown = path.display();
    let mode = path.metadata()?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).with_context(|| {
        phrase!(
            "Others may read '{shown}', and this can't be changed. Make its owner the user who runs the region, and its mode 0600.",
            "D’autres peuvent lire « {shown} », et cela n’a pu être changé. Rendez-en propriétaire l’utilisateur de la région, avec le mode 0600."
        )
    })?;
    let mode = mode & 0o777;
    crate::ui::note(phrase!(
        "Others on this machine could read '{shown}' (mode {mode:o}): it is its owner's alone again (0600). Whoever copied it can open this region's store.",
        "D’autres sur cette machine pouvaient lire « {shown} » (mode {mode:o}) : il est de nouveau à son seul propriétaire (0600). Qui l’a copié peut ouvrir le stockage de la région."
    ));
    Ok(())
}

/// A folder for its owner alone.
pub fn make_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A small text file; `None` when it is not there. Error: it is larger than 1 MiB, or not text.
pub fn read_small(path: &Path) -> Result<Option<String>> {
    let shown = path.display();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| phrase!("'{shown}' can't be read.", "« {shown} » ne peut être lu.")),
    };
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.with_context(|| phrase!("'{shown}' can't be read.", "« {shown} » ne peut être lu."))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        bail!(phrase!("'{shown}' is larger than it can be.", "« {shown} » est plus grand que possible."));
    }
    Ok(Some(text))
}

/// Puts a file in place, whole and durable, readable by all.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, 0o644)
}

/// Puts a file in place, whole and durable, readable by its owner alone.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, 0o600)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("file");
    let aside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let put = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)?;
        // the rename is durable when its folder is
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    put().with_context(|| {
        let shown = path.display();
        phrase!("'{shown}' can't be written.", "« {shown} » ne peut être écrit.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_holds_a_region() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::create(&temporary.path().join("a/b")).unwrap();
        let lock = folder.lock().unwrap();
        let refused = folder.lock().unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(lock);
        folder.lock().unwrap();
    }

    #[test]
    fn a_foreign_folder_is_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("thesis.txt"), "x").unwrap();
        assert!(Folder::create(temporary.path()).is_err());
        assert!(Folder::existing(temporary.path()).is_err());
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_root_key_is_for_its_owner_and_never_made_twice() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::create(temporary.path()).unwrap();
        assert!(!folder.is_made());
        let key = folder.root_key(&base::OsChance, false).unwrap();
        assert!(folder.is_made());
        assert!(folder.root_key(&base::OsChance, true).unwrap() == key);
        let path = folder.path("keys/root.key");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(folder.root_key(&base::OsChance, true).unwrap() == key);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "others could read it");
        std::fs::write(&path, "short\n").unwrap();
        assert!(folder.root_key(&base::OsChance, true).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(folder.root_key(&base::OsChance, true).is_err(), "a new key would open nothing");
    }

    #[test]
    fn files_are_bounded() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("f");
        assert!(read_small(&path).unwrap().is_none());
        std::fs::write(&path, vec![b'x'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(read_small(&path).is_err());
        std::fs::write(&path, [0xFF]).unwrap();
        assert!(read_small(&path).is_err());
    }
}
