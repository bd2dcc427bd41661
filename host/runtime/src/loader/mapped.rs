//! Which file is mapped at an address, as the kernel tells.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;

/// Device and inode of the file mapped at an address; `None` if there is none.
///
/// # Errors
/// The kernel can't be asked, as where no descriptor is left.
pub(super) fn file_at(address: usize) -> std::io::Result<Option<(u64, u64)>> {
    let maps = File::open("/proc/self/maps")?;
    Ok(asked(&maps, address).or_else(|| read(maps, address)))
}

/// One question to the kernel (PROCMAP_QUERY); kernels before 6.11 have no answer.
fn asked(maps: &File, address: usize) -> Option<(u64, u64)> {
    let mut query = Query {
        size: size_of::<Query>() as u64,
        address: address as u64,
        ..Query::default()
    };
    // SAFETY: the request is for a struct of this layout and size, of which the kernel writes the answer's fields.
    let answered = unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
    let device = libc::makedev(query.major, query.minor);
    (answered == 0).then_some((device, query.inode))
}

/// The kernel's `struct procmap_query` (linux/fs.h).
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    vma_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    major: u32,
    minor: u32,
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

/// `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: libc::Ioctl =
    (3 << 30 | (size_of::<Query>() << 16) | ((b'f' as usize) << 8) | 17) as libc::Ioctl;

/// The whole list, line by line (proc_pid_maps(5)).
fn read(maps: File, address: usize) -> Option<(u64, u64)> {
    // The kernel writes the list again for each read, so few large ones; and none after the line that is looked for.
    let maps = BufReader::with_capacity(64 * 1024, maps);
    maps.lines().map_while(Result::ok).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        if !range.contains(&address) {
            return None;
        }
        let (major, minor) = fields.nth(2)?.split_once(':')?;
        let device = libc::makedev(
            u32::from_str_radix(major, 16).ok()?,
            u32::from_str_radix(minor, 16).ok()?,
        );
        Some((device, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn both_ways_name_the_file_that_is_mapped() {
        let executable = std::fs::metadata("/proc/self/exe").unwrap();
        let expected = Some((executable.dev(), executable.ino()));
        let within = read as *const () as usize;
        let maps = || File::open("/proc/self/maps").unwrap();
        assert_eq!(read(maps(), within), expected);
        assert_eq!(file_at(within).unwrap(), expected);
        let answer = asked(&maps(), within);
        assert!(answer.is_none() || answer == expected, "{answer:?}");
        let mine = 0_u8;
        assert_ne!(file_at(&raw const mine as usize).unwrap(), expected);
        assert_eq!(file_at(0).unwrap(), None);
    }
}
