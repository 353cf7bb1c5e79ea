//! A file of bounded size that several processes append to, and its older siblings: `NAME`, `NAME.1`, `NAME.2`, ...
//!
//! Everything goes through the folder's descriptor, opened before HAProxy's chroot. While a reload lasts two workers write:
//! a line is one write to a file opened for appending, so lines stay whole; a lock on the folder lets one of them rotate, and
//! the other sees that the name has moved on.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// One file and its siblings.
///
/// Bounded: `max_files` files of at most `max_bytes`, but for a single longer line, and for one line of every other process that
/// writes at the same moment; twice as many bytes while another process holds the folder's lock. A full file that cannot be
/// rotated takes nothing more.
#[derive(Debug)]
pub struct RotatingFile {
    folder: File,
    name: String,
    file: File,
    max_bytes: u64,
    max_files: usize,
    /// The last write ended inside a line.
    torn: bool,
}

impl RotatingFile {
    /// Opens `path` before HAProxy's chroot.
    pub fn open(path: &Path, max_bytes: u64, max_files: usize) -> Result<Self, OpenError> {
        let failed = |path: &Path, source| OpenError { path: path.display().to_string(), source };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = File::open(parent).map_err(|source| failed(parent, source))?;
        let file = open(path).map_err(|source| failed(path, source))?;
        Ok(Self {
            folder,
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            file,
            max_bytes,
            max_files,
            torn: false,
        })
    }

    /// Appends a line, which ends in a line break.
    pub fn append(&mut self, line: &[u8]) -> Result<(), AppendError> {
        self.follow();
        let size = self.file.metadata()?.size();
        if size > 0 && size.saturating_add(line.len() as u64) > self.max_bytes {
            self.rotate(size).map_err(AppendError::Rotation)?;
        }
        if std::mem::take(&mut self.torn) {
            self.write(b"\n")?;
        }
        Ok(self.write(line)?)
    }

    /// Begins another file, whatever the size of this one; one that is empty goes on.
    pub fn begin_another(&mut self) -> Result<(), AppendError> {
        self.follow();
        let size = self.file.metadata()?.size();
        if size > 0 {
            self.rotate(size).map_err(AppendError::Rotation)?;
        }
        Ok(())
    }

    /// One write, so that lines of other processes do not come between; a file system that is full may cut it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        let rest = bytes.get(written..).unwrap_or_default();
        self.torn = !rest.is_empty();
        self.file.write_all(rest)?;
        self.torn = false;
        Ok(())
    }

    /// Goes on in the file that has the name now, where another process or an operator has moved ours away. Where that
    /// cannot be opened, ours is still good.
    fn follow(&mut self) {
        if self.is_named().unwrap_or(true) {
            return;
        }
        if let Ok(file) = self.create() {
            self.file = file;
        }
    }

    /// Whether our file still has the name.
    fn is_named(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fstatat(&self.folder, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.dev(), ours.ino())),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self) -> io::Result<File> {
        let flags = OFlag::O_WRONLY
            | OFlag::O_APPEND
            | OFlag::O_CREAT
            | OFlag::O_CLOEXEC
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK;
        let mode = Mode::from_bits_truncate(MODE);
        Ok(File::from(openat(&self.folder, self.name.as_str(), flags, mode)?))
    }

    /// Moves every file one number on and begins another. While somebody else rotates, nothing: the next line looks again,
    /// until the file's `size` is twice what it may be.
    fn rotate(&mut self, size: u64) -> io::Result<()> {
        if !self.is_locked(size)? {
            return Ok(());
        }
        let rotated = self.rotate_alone();
        let unlocked = self.folder.unlock();
        rotated.and(unlocked)
    }

    /// False while somebody else rotates. Once the file has twice the size that it may have, waits for them, and fails at
    /// last.
    fn is_locked(&self, size: u64) -> io::Result<bool> {
        let end = Instant::now() + LOCK_WAIT;
        loop {
            match self.folder.try_lock() {
                Ok(()) => return Ok(true),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if size < self.max_bytes.saturating_mul(2) => return Ok(false),
                Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOCK_STEP),
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other("another process keeps its folder locked"));
                }
            }
        }
    }

    fn rotate_alone(&mut self) -> io::Result<()> {
        if self.is_named()? {
            self.shift()?;
        }
        self.file = self.create()?;
        Ok(())
    }

    /// The oldest is overwritten, or removed where there is only one.
    fn shift(&self) -> io::Result<()> {
        if self.max_files == 1 {
            return Ok(unlinkat(&self.folder, self.name.as_str(), UnlinkatFlags::NoRemoveDir)?);
        }
        for number in (1..self.max_files).rev() {
            let (from, to) = (self.numbered(number - 1), self.numbered(number));
            match renameat(&self.folder, from.as_str(), &self.folder, to.as_str()) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn numbered(&self, number: usize) -> String {
        if number == 0 { self.name.clone() } else { format!("{}.{number}", self.name) }
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {path}: {source}")]
pub struct OpenError {
    /// The file or its folder.
    pub path: String,
    /// What the system said.
    pub source: io::Error,
}

/// Why a line was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// What the system said.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is no room, and none could be made.
    #[error("the file is full and cannot be rotated: {0}")]
    Rotation(io::Error),
}

/// A regular file alone can be rotated. Opened without waiting, for a pipe would hold HAProxy up until somebody reads.
fn open(path: &Path) -> io::Result<File> {
    if path.is_symlink() {
        return Err(io::Error::other("it is a symbolic link, which cannot be rotated"));
    }
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits();
    let file = OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// For another process that rotates: renaming some files takes far less.
const LOCK_WAIT: Duration = Duration::from_millis(500);
/// Between two looks at the lock.
const LOCK_STEP: Duration = Duration::from_millis(5);
/// Readable by the group, for whoever ships the files.
const MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// A folder that is gone at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NUMBER: AtomicUsize = AtomicUsize::new(0);
            let name = format!("vitals-files-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn open(&self, max_bytes: u64, max_files: usize) -> RotatingFile {
            RotatingFile::open(&self.0.join("spans.jsonl"), max_bytes, max_files).unwrap()
        }

        /// Names with contents, sorted.
        fn files(&self) -> Vec<(String, String)> {
            let entries = fs::read_dir(&self.0).unwrap().flatten();
            let read = |entry: fs::DirEntry| {
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
            };
            let mut files: Vec<_> = entries.map(read).collect();
            files.sort();
            files
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn named(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_full_file_moves_on_and_the_oldest_goes() {
        let folder = Folder::new();
        let mut file = folder.open(8, 3);
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n"] {
            file.append(line.as_bytes()).unwrap();
        }
        let expected = [("spans.jsonl", "five\n"), ("spans.jsonl.1", "four\n"), ("spans.jsonl.2", "three\n")];
        assert_eq!(folder.files(), named(&expected));
    }

    #[test]
    fn one_file_begins_anew() {
        let folder = Folder::new();
        let mut file = folder.open(4, 1);
        file.append(b"one\n").unwrap();
        file.append(b"two\n").unwrap();
        assert_eq!(folder.files(), named(&[("spans.jsonl", "two\n")]));
    }

    #[test]
    fn what_is_there_is_appended_to_and_the_group_may_read_it() {
        let folder = Folder::new();
        folder.open(100, 2).append(b"one\n").unwrap();
        folder.open(100, 2).append(b"two\n").unwrap();
        assert_eq!(folder.files(), named(&[("spans.jsonl", "one\ntwo\n")]));
        let mode = fs::metadata(folder.0.join("spans.jsonl")).unwrap().mode();
        // The umask may take more away.
        assert_eq!(mode & 0o777 & !MODE, 0, "{mode:o}");
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let folder = Folder::new();
        let mut file = folder.open(100, 2);
        file.append(b"one\n").unwrap();
        fs::rename(folder.0.join("spans.jsonl"), folder.0.join("taken")).unwrap();
        file.append(b"two\n").unwrap();
        assert_eq!(folder.files(), named(&[("spans.jsonl", "two\n"), ("taken", "one\n")]));
    }

    #[test]
    fn what_cannot_be_rotated_is_refused() {
        let folder = Folder::new();
        let link = folder.0.join("link");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        let error = |path: &Path| RotatingFile::open(path, 4096, 2).unwrap_err().to_string();
        assert!(error(&link).contains("it is a symbolic link"));
        assert!(error(Path::new("/dev/null")).contains("it is no regular file"));
        assert!(error(Path::new("/nowhere/spans")).contains("cannot open /nowhere: "));
    }

    #[test]
    fn while_another_rotates_a_line_stays_in_the_file() {
        let folder = Folder::new();
        let mut file = folder.open(4, 2);
        file.append(b"one\n").unwrap();
        let other = File::open(&folder.0).unwrap();
        other.lock().unwrap();
        file.append(b"two\n").unwrap();
        other.unlock().unwrap();
        file.append(b"six\n").unwrap();
        assert_eq!(folder.files(), named(&[("spans.jsonl", "six\n"), ("spans.jsonl.1", "one\ntwo\n")]));
    }

    #[test]
    fn two_writers_at_once_keep_lines_whole_and_lose_none() {
        let folder = Folder::new();
        let writers = ["a", "b"].map(|letter| {
            let mut file = folder.open(20_000, 100);
            std::thread::spawn(move || {
                for number in 0..400 {
                    file.append(format!("{}{number}\n", letter.repeat(200)).as_bytes()).unwrap();
                }
            })
        });
        for writer in writers {
            writer.join().unwrap();
        }
        let text: String = folder.files().into_iter().map(|(_, text)| text).collect();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 800);
        assert!(lines.iter().all(|line| {
            let number = line.trim_start_matches(['a', 'b']);
            number.parse::<u32>().is_ok() && line.len() - number.len() == 200
        }));
        // Who finds the other rotating writes on: how many files there are is a matter of luck, that there are several is not.
        assert!(folder.files().len() > 1);
    }

    #[test]
    fn a_lock_that_is_never_given_back_does_not_let_a_file_grow_for_ever() {
        let folder = Folder::new();
        let mut file = folder.open(100, 3);
        let held = File::open(&folder.0).unwrap();
        held.lock().unwrap();
        for line in 0..22 {
            assert_eq!(file.append(b"123456789\n").is_ok(), line < 20, "{line}");
        }
        held.unlock().unwrap();
        file.append(b"last\n").unwrap();
        let files = folder.files();
        assert_eq!((files.len(), files[0].1.as_str()), (2, "last\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn files_never_pass_their_bounds(lengths in proptest::collection::vec(1_usize..60, 1..60), max_files in 1_usize..4) {
            let folder = Folder::new();
            let mut file = folder.open(100, max_files);
            for length in &lengths {
                let line = format!("{}\n", "x".repeat(length - 1));
                file.append(line.as_bytes()).unwrap();
                let files = folder.files();
                prop_assert!(files.len() <= max_files);
                prop_assert!(files.iter().all(|(_, text)| text.len() <= 100));
                prop_assert!(files[0].1.ends_with(&line));
            }
        }
    }
}
