//! Shared memory, semaphores and message queues of System V (sysvipc(7)), which belong to no process.

use std::fs::File;
use std::io;

use rustix::buffer::spare_capacity;
use rustix::process::Pid;
use serde::Serialize;

use super::procfs::stat::visible_pid;

/// No line of these tables is longer.
const LONGEST_LINE: usize = 512;
const ROOM: usize = 4096;
/// linux/shm.h, linux/sem.h, linux/msg.h
const SHM_INFO: i32 = 14;
const SEM_INFO: i32 = 19;
const MSG_INFO: i32 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ObjectKind {
    SharedMemory,
    Semaphores,
    MessageQueue,
}

impl ObjectKind {
    pub(crate) const ALL: [Self; 3] = [Self::SharedMemory, Self::Semaphores, Self::MessageQueue];

    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::SharedMemory => "/proc/sysvipc/shm",
            Self::Semaphores => "/proc/sysvipc/sem",
            Self::MessageQueue => "/proc/sysvipc/msg",
        }
    }

    fn id(self) -> &'static str {
        match self {
            Self::SharedMemory => "shmid",
            Self::Semaphores => "semid",
            Self::MessageQueue => "msqid",
        }
    }
}

/// A line of one of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub kind: ObjectKind,
    pub id: i32,
    pub key: i32,
    /// The user of the process that has created it.
    pub uid: u32,
    /// The size of a segment, and of what is in a queue.
    pub bytes: Option<u64>,
    /// The process that has created a segment. `None` if it is in a PID namespace that we cannot see, or if the kernel does
    /// not tell.
    pub creator: Option<Pid>,
    /// The last processes that have sent to a queue and received from it.
    pub users: Vec<Pid>,
    /// How many times a segment is attached.
    pub attached: u64,
    /// When it was created or its rights were changed, in seconds since 1970.
    pub changed: u64,
}

/// The text of a table of our IPC namespace. It is empty if there is no such object, which costs a single call to know.
pub(crate) fn read_table(kind: ObjectKind) -> io::Result<Vec<u8>> {
    if count(kind)? == 0 {
        return Ok(Vec::new());
    }
    let file = File::open(kind.table())?;
    let mut text = Vec::with_capacity(ROOM);
    loop {
        let got = rustix::io::read(&file, spare_capacity(&mut text))?;
        // A read returns as many lines as fit, up to a page (`seq_read_iter`, linux/fs/seq_file.c).
        if got + LONGEST_LINE < ROOM.min(text.capacity() - (text.len() - got)) {
            return Ok(text);
        }
        text.reserve(ROOM);
    }
}

/// How many there are. None if the kernel was built without them.
fn count(kind: ObjectKind) -> io::Result<i32> {
    // The kernel writes up to 10 numbers: `used_ids` of `struct shm_info`, `semusz` of `struct seminfo` and `msgpool` of
    // `struct msginfo` are the counts (linux/shm.h, linux/sem.h, linux/msg.h).
    let mut info = [0i32; 32];
    let to = info.as_mut_ptr();
    // SAFETY: each call writes one of these structs, all of which are smaller than the array, and knows no other effect.
    let (result, count) = unsafe {
        match kind {
            ObjectKind::SharedMemory => (libc::shmctl(0, SHM_INFO, to.cast()), 0),
            ObjectKind::Semaphores => (libc::semctl(0, 0, SEM_INFO, to), 7),
            ObjectKind::MessageQueue => (libc::msgctl(0, MSG_INFO, to.cast()), 0),
        }
    };
    match io::Error::last_os_error() {
        _ if result >= 0 => Ok(info[count]),
        error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(0),
        error => Err(error),
    }
}

/// The lines of a table. `None` if it is not what the kernel writes.
pub(crate) fn parse_table(kind: ObjectKind, text: &[u8]) -> Option<Vec<Object>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines();
    let names: Vec<_> = lines.next()?.split_whitespace().collect();
    let object = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let word = |name: &str| words.get(names.iter().position(|it| *it == name)?).copied();
        let number = |name: &str| word(name)?.parse::<u64>().ok();
        let pid = |name: &str| word(name)?.parse().ok().and_then(visible_pid);
        Some(Object {
            kind,
            id: word(kind.id())?.parse().ok()?,
            key: word("key")?.parse().ok()?,
            uid: word("cuid")?.parse().ok()?,
            bytes: number("size").or(number("cbytes")),
            creator: pid("cpid"),
            users: ["lspid", "lrpid"].into_iter().filter_map(pid).collect(),
            attached: number("nattch").unwrap_or_default(),
            changed: number("ctime")?,
        })
    };
    lines.map(object).collect()
}

/// The process that has used the first semaphore of a set last, if we may know.
pub(crate) fn last_user_of_semaphore(id: i32) -> Option<Pid> {
    // SAFETY: GETPID takes no argument and writes no memory (semctl(2)).
    visible_pid(unsafe { libc::semctl(id, 0, libc::GETPID) })
}

/// Removes a segment if it is still this one, and nothing has it attached. Returns whether it did.
pub(crate) fn remove_segment(object: &Object) -> io::Result<bool> {
    // SAFETY: zeroes are a valid value of this struct of numbers.
    let mut now: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: IPC_STAT writes one struct, for which there is room (shmctl(2)).
    if unsafe { libc::shmctl(object.id, libc::IPC_STAT, &raw mut now) } < 0 {
        return gone_or_error();
    }
    let is_it = now.shm_perm.__key == object.key
        && now.shm_perm.cuid == object.uid
        && visible_pid(now.shm_cpid) == object.creator
        && u64::try_from(now.shm_ctime) == Ok(object.changed)
        && now.shm_nattch == 0;
    if !is_it {
        return Ok(false);
    }
    // SAFETY: IPC_RMID takes no argument and writes no memory (shmctl(2)).
    if unsafe { libc::shmctl(object.id, libc::IPC_RMID, std::ptr::null_mut()) } < 0 {
        return gone_or_error();
    }
    Ok(true)
}

fn gone_or_error() -> io::Result<bool> {
    let error = io::Error::last_os_error();
    let is_gone = matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIDRM));
    if is_gone { Ok(false) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_found_by_their_names() {
        let text = b"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n  10010740      65571   600                    56 25682 25684      0   101   104   102   104 1795936658 1795936688 1795936659                  4096                     0\n";
        let objects = parse_table(ObjectKind::SharedMemory, text).unwrap();
        let [it] = &objects[..] else { panic!("{objects:?}") };
        assert_eq!((it.id, it.key, it.uid, it.bytes), (65571, 10010740, 102, Some(56)));
        assert_eq!((it.creator, it.attached, it.changed), (Pid::from_raw(25682), 0, 1795936659));
        let text = b"key msqid perms cbytes qnum lspid lrpid uid gid cuid cgid stime rtime ctime\n-5 2 644 3 1 7 0 0 0 0 0 1 0 9\n";
        let queues = parse_table(ObjectKind::MessageQueue, text).unwrap();
        assert_eq!((queues[0].key, &queues[0].users[..]), (-5, &[Pid::from_raw(7).unwrap()][..]));
        assert_eq!(parse_table(ObjectKind::Semaphores, b""), None);
        assert_eq!(parse_table(ObjectKind::Semaphores, b"key semid\nx y\n"), None);
    }

    /// Goes, whatever happens.
    struct Segment(i32);

    impl Segment {
        fn new() -> Self {
            // SAFETY: creates a segment and attaches none.
            Self(unsafe { libc::shmget(libc::IPC_PRIVATE, 1, 0o600) })
        }
    }

    impl Drop for Segment {
        fn drop(&mut self) {
            // SAFETY: as above; it is ours, or gone.
            unsafe { libc::shmctl(self.0, libc::IPC_RMID, std::ptr::null_mut()) };
        }
    }

    #[test]
    fn a_table_is_read_to_its_end_and_its_segments_can_be_removed() {
        // More than fit into a page.
        let segments: Vec<_> = (0..50).map(|_| Segment::new()).collect();
        let ours = || -> Vec<Object> {
            let text = read_table(ObjectKind::SharedMemory).unwrap();
            let all =
                if text.is_empty() { vec![] } else { parse_table(ObjectKind::SharedMemory, &text).unwrap() };
            all.into_iter().filter(|it| segments.iter().any(|segment| segment.0 == it.id)).collect()
        };
        let found = ours();
        assert_eq!(found.len(), segments.len());
        assert!(found.iter().all(|it| it.creator == Some(rustix::process::getpid())), "{found:?}");
        assert!(!remove_segment(&Object { key: 7, ..found[0].clone() }).unwrap());
        assert!(!remove_segment(&Object { creator: None, ..found[0].clone() }).unwrap());
        assert_eq!(ours().len(), segments.len());
        assert!(found.iter().all(|it| remove_segment(it).unwrap()));
        assert!(!remove_segment(&found[0]).unwrap());
        assert_eq!(ours(), []);
    }
}
