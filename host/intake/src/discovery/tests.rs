use super::*;
use std::env::consts::DLL_EXTENSION;
use std::fs;

const SETTLE: Duration = Duration::from_millis(300);

fn lib(name: &str) -> String {
    format!("{name}.{DLL_EXTENSION}")
}

fn over(dirs: &[&Path]) -> Discovery {
    Discovery::new(DiscoveryConfig {
        dirs: dirs.iter().map(|d| d.to_path_buf()).collect(),
        ..DiscoveryConfig::default()
    })
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn set_modified(path: &Path, time: SystemTime) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

fn names(found: &[FoundFile]) -> Vec<String> {
    found
        .iter()
        .map(|f| f.path().file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn only_libraries_are_found_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let last = ["b", "a", "c"].map(|n| write(dir.path(), &lib(n), b"x"))[2].clone();
    for other in [
        ".hidden.so",
        "a.so.part",
        "b.so.tmp",
        "c.so~",
        "d.txt",
        "so",
        "libz.so.1",
    ] {
        write(dir.path(), other, b"x");
    }
    let scan = over(&[dir.path()]).scan(modified(&last) + SETTLE);
    assert_eq!(names(&scan.found), [lib("a"), lib("b"), lib("c")]);
    assert!(
        scan.refused.is_empty() && scan.pending.is_empty() && scan.dirs.is_empty(),
        "{scan:?}"
    );
}

#[test]
fn a_fresh_file_waits_until_it_is_old_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &lib("a"), b"x");
    let start = modified(&path);
    let mut discovery = over(&[dir.path()]);
    let scan = discovery.scan(start + SETTLE / 2);
    assert_eq!((scan.found.len(), &scan.pending[..]), (0, &[path.clone()][..]));

    fs::write(&path, b"xy").unwrap();
    set_modified(&path, start + SETTLE);
    assert_eq!(discovery.scan(start + SETTLE).pending.len(), 1);
    assert_eq!(
        discovery.scan(start + SETTLE * 2).found[0].identity().size_bytes,
        2
    );
}

#[test]
fn a_change_time_in_the_future_needs_two_equal_looks() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &lib("a"), b"x");
    let now = modified(&path);
    set_modified(&path, now + Duration::from_secs(3600));
    let mut discovery = over(&[dir.path()]);
    assert_eq!(discovery.scan(now).pending.len(), 1);
    assert_eq!(
        discovery.scan(now + SETTLE / 3).pending.len(),
        1,
        "too soon after the first scan"
    );
    set_modified(&path, now + Duration::from_secs(3601));
    assert_eq!(
        discovery.scan(now + SETTLE).pending.len(),
        1,
        "it changed in between"
    );
    assert_eq!(discovery.scan(now + SETTLE * 2).found.len(), 1);
}

#[test]
fn a_clock_that_goes_back_does_not_hold_files_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &lib("a"), b"x");
    let now = modified(&path);
    let mut discovery = over(&[dir.path()]);
    assert_eq!(discovery.scan(now).pending.len(), 1);
    assert_eq!(discovery.scan(now - Duration::from_secs(3600)).found.len(), 1);
}

#[test]
fn a_replaced_file_has_another_identity() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &lib("a"), b"x");
    let time = modified(&path);
    let config = DiscoveryConfig::default();
    let first = find(&path, &config).unwrap();
    let other = write(dir.path(), "other", b"y");
    set_modified(&other, time);
    fs::rename(&other, &path).unwrap();
    let second = find(&path, &config).unwrap();
    assert_ne!(first.identity(), second.identity());
    assert_eq!(first.path(), second.path());
}

#[test]
fn a_missing_directory_is_reported_and_the_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &lib("a"), b"x");
    let missing = dir.path().join("none");
    let scan = over(&[&missing, &path, dir.path()]).scan(modified(&path) + SETTLE);
    assert_eq!(scan.found.len(), 1);
    assert_eq!(scan.dirs[0].problem, DirProblem::Missing);
    assert!(
        scan.dirs[0]
            .to_string()
            .contains("none is not there; the host waits for it: create it"),
        "{}",
        scan.dirs[0]
    );
    assert!(matches!(scan.dirs[1].problem, DirProblem::Unreadable(_)));
}

#[test]
fn limits_hold_for_counts_and_sizes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["d", "b", "a", "c"] {
        write(dir.path(), &lib(name), b"xx");
    }
    let mut config = DiscoveryConfig {
        dirs: vec![dir.path().to_owned()],
        files_per_dir_max: 2,
        ..DiscoveryConfig::default()
    };
    let late = SystemTime::now() + Duration::from_secs(60);
    let scan = Discovery::new(config.clone()).scan(late);
    assert_eq!(names(&scan.found), [lib("a"), lib("b")]);
    assert_eq!(scan.dirs[0].problem, DirProblem::TooMany { found: 4, max: 2 });

    config.file_bytes_max = 1;
    let scan = Discovery::new(config).scan(late);
    assert!(scan.found.is_empty());
    assert_eq!(scan.refused[0].reason, Unfit::TooLarge { size: 2, max: 1 });
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_no_file_is_refused_by_kind_and_never_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(lib(name));
        fs::create_dir(at("dir")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink(at("loop2"), at("loop1")).unwrap();
        symlink(at("loop1"), at("loop2")).unwrap();
        symlink("/dev/null", at("device")).unwrap();
        // Opening this for reading would wait for a writer, and the test with it.
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status()
            .unwrap();
        assert!(made.success());

        let scan = over(&[dir.path()]).scan(SystemTime::now());
        let refused: Vec<_> = scan
            .refused
            .iter()
            .map(|r| (r.path.file_stem().unwrap().to_str().unwrap(), r.reason.code()))
            .collect();
        assert_eq!(
            refused,
            [
                ("dangling", "dangling-link"),
                ("device", "device"),
                ("dir", "directory"),
                ("loop1", "link-loop"),
                ("loop2", "link-loop"),
                ("pipe", "pipe"),
                ("socket", "socket"),
            ]
        );
        assert!(scan.found.is_empty() && scan.pending.is_empty());
    }

    #[test]
    fn one_file_reached_by_several_paths_is_found_once() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let real = write(one.path(), &lib("real"), b"x");
        symlink(&real, one.path().join(lib("zlink"))).unwrap();
        symlink(&real, two.path().join(lib("elsewhere"))).unwrap();
        fs::hard_link(&real, two.path().join(lib("hard"))).unwrap();
        let scan = over(&[one.path(), one.path(), two.path()]).scan(modified(&real) + SETTLE);
        assert_eq!(names(&scan.found), [lib("real")]);
        assert_eq!(scan.aliases.len(), 5, "{:?}", scan.aliases);
    }

    #[test]
    fn links_are_resolved() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let real = write(one.path(), "versioned.1", b"x");
        let link = two.path().join(lib("a"));
        symlink(&real, &link).unwrap();
        let found = find(&link, &DiscoveryConfig::default()).unwrap();
        assert_eq!(
            (found.path(), found.resolved()),
            (&*link, &*real.canonicalize().unwrap())
        );
    }
}
