//! Real files: whatever somebody who was killed has left, the log can be opened again.

use crate::files::{OWNER, life, put};
use std::fs;
use std::path::PathBuf;
use understudy::core::disk::{Fsync, file_name};
use understudy::disk::{Cabinet, LogFound};

/// A folder that is removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("understudy-cabinet-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    /// The files of the log.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let paths = fs::read_dir(&self.0).expect("it is there").map(|entry| entry.expect("it can be read").path());
        paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-")))
    }

    fn open(&self) -> (Cabinet, LogFound) {
        Cabinet::open(&self.0, OWNER, Fsync::Always).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_first_file_that_was_being_made_is_made_anew() {
    let folder = Folder::new("first");
    drop(folder.open());
    let path = folder.0.join(file_name(1));
    let whole = fs::read(&path).expect("the first file is there");
    for bytes in [0, 1, 700, whole.len() - 1] {
        fs::write(&path, &whole[..bytes]).expect("it can be cut");
        let (mut cabinet, found) = folder.open();
        assert_eq!((found.damage, found.had.member), (None, None), "{bytes} bytes");
        cabinet.write(&life(3, u64::MAX)).expect("it can be written");
        cabinet.write(&[put(4, 10)]).expect("it can be written");
        drop(cabinet);
        assert_eq!(folder.open().1.had.op().0, 4, "{bytes} bytes");
        fs::remove_file(&path).expect("it can be removed");
    }
}
