//! Mapped memory for pools and rings. Invariant: a [`Region`] is page-aligned, zeroed and wholly backed by physical
//! pages before anyone sees it, and its [`RegionReport`] says what was got, not what was wished.
#![expect(unsafe_code, reason = "mbind and move_pages have no safe wrapper")]

use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};
use std::fs;
use std::io;
use std::path::Path;

/// The largest page that a region should be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugeWish {
    /// 2 MiB hugetlb pages, else ordinary ones with transparent huge pages asked for.
    TwoMiB,
    /// 1 GiB hugetlb pages, else 2 MiB ones, else ordinary ones.
    OneGiB,
    /// Ordinary pages, without asking for transparent huge pages.
    Never,
}

/// What a region should be like. All of it is best effort: what is missed is in the report.
#[derive(Clone, Copy, Debug)]
pub struct MemoryWish {
    /// The kind of pages.
    pub huge: HugeWish,
    /// The NUMA node the pages should lie on; `None` leaves it to the kernel (the node of the mapping thread).
    pub node: Option<u32>,
    /// Whether the pages should be kept from being swapped out.
    pub lock: bool,
    /// What the region is for, as remarks and errors call it.
    pub name: &'static str,
}

/// The pages that a region was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageKind {
    /// 1 GiB hugetlb pages.
    #[serde(rename = "1GiB")]
    Huge1GiB,
    /// 2 MiB hugetlb pages.
    #[serde(rename = "2MiB")]
    Huge2MiB,
    /// Ordinary pages, which the kernel may have joined to transparent huge ones.
    TransparentOr4KiB,
}

/// What a region turned out to be.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RegionReport {
    /// The name in the wish.
    pub name: &'static str,
    /// Bytes mapped: the bytes asked for, rounded up to whole pages.
    pub bytes: usize,
    /// The pages it was made of.
    pub pages: PageKind,
    /// Whether a node was asked for and the pages were found to lie on it.
    pub node_bound: bool,
    /// Whether the pages can't be swapped out (hugetlb pages never are).
    pub locked: bool,
    /// One sentence for each part of the wish that was missed, with the command that puts it right.
    pub remarks: Vec<String>,
}

impl std::fmt::Display for RegionReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pages = match self.pages {
            PageKind::Huge1GiB => "1 GiB pages",
            PageKind::Huge2MiB => "2 MiB pages",
            PageKind::TransparentOr4KiB => "ordinary pages",
        };
        write!(f, "{} MiB on {pages}{}", self.bytes >> 20, if self.locked { ", locked" } else { "" })?;
        self.remarks.iter().try_for_each(|remark| write!(f, "; {remark}"))
    }
}

/// Why no region could be mapped at all.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Zero bytes, or more than an address space holds, were asked for.
    #[error(
        "{name}: {bytes} bytes can't be mapped; ask for at least one byte and less than the address space"
    )]
    Size {
        /// The region's name.
        name: &'static str,
        /// Bytes asked for.
        bytes: usize,
    },
    /// The kernel has no such memory.
    #[error(
        "{name}: cannot map {bytes} bytes: {source}; make the region smaller or free memory (see `free -m`)"
    )]
    Map {
        /// The region's name.
        name: &'static str,
        /// Bytes asked for, rounded up to whole pages.
        bytes: usize,
        /// The kernel's word.
        source: io::Error,
    },
}

/// A mapped, prefaulted, page-aligned and zeroed memory region. It is unmapped when dropped.
///
/// It hands out a raw pointer only: who may read or write which bytes when is the business of its user (a pool, a
/// ring). It is `Send` and `Sync` because `MmapRaw` is: nothing of it is bound to a thread, and sharing the address
/// gives nobody the right to dereference it.
#[derive(Debug)]
pub struct Region {
    map: MmapRaw,
}

const fn assert_send_sync<T: Send + Sync>() {}
const _: () = assert_send_sync::<Region>();

impl PageKind {
    const fn page_bits(self) -> Option<u8> {
        match self {
            PageKind::Huge1GiB => Some(30),
            PageKind::Huge2MiB => Some(21),
            PageKind::TransparentOr4KiB => None,
        }
    }
}

impl Region {
    /// Maps at least `bytes` bytes as near to `wish` as the machine allows, binds them to their node, touches every
    /// page and locks them, in this order.
    ///
    /// # Errors
    /// Only if not even ordinary pages can be had, or if `bytes` is 0; all else is a remark in the report.
    pub fn map(bytes: usize, wish: &MemoryWish) -> Result<(Region, RegionReport), MemoryError> {
        let mut remarks = Vec::new();
        let huge: &[PageKind] = match wish.huge {
            HugeWish::OneGiB => &[PageKind::Huge1GiB, PageKind::Huge2MiB],
            HugeWish::TwoMiB => &[PageKind::Huge2MiB],
            HugeWish::Never => &[],
        };
        let mut found = None;
        for &kind in huge {
            let page_bytes = 1usize << kind.page_bits().unwrap_or(0);
            let length = round_up(bytes, page_bytes, wish.name)?;
            match map_huge(length, kind, wish, &mut remarks) {
                Ok(map) => {
                    found = Some((map, kind));
                    break;
                }
                Err(error) => remarks.push(huge_remark(wish.name, length, page_bytes, &error)),
            }
        }
        let (map, pages) = match found {
            Some(found) => found,
            None => (map_ordinary(bytes, wish, &mut remarks)?, PageKind::TransparentOr4KiB),
        };
        let node_bound = wish.node.is_some_and(|node| check_node(&map, node, pages, wish.name, &mut remarks));
        let locked =
            wish.lock && (pages != PageKind::TransparentOr4KiB || lock(&map, wish.name, &mut remarks));
        let map = MmapRaw::from(map);
        let report = RegionReport { name: wish.name, bytes: map.len(), pages, node_bound, locked, remarks };
        Ok((Region { map }, report))
    }

    /// The first byte; aligned to the region's pages (4 KiB at least).
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// Bytes mapped: those asked for, rounded up to whole pages.
    #[inline]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Never true: an empty region can't be mapped.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.map.len() == 0
    }
}

fn round_up(bytes: usize, page_bytes: usize, name: &'static str) -> Result<usize, MemoryError> {
    match bytes.checked_next_multiple_of(page_bytes) {
        Some(length) if length > 0 && length <= isize::MAX as usize => Ok(length),
        _ => Err(MemoryError::Size { name, bytes }),
    }
}

fn map_huge(
    length: usize,
    kind: PageKind,
    wish: &MemoryWish,
    remarks: &mut Vec<String>,
) -> io::Result<MmapMut> {
    let map = MmapOptions::new().len(length).huge(kind.page_bits()).map_anon()?;
    prefer_node(&map, wish, remarks);
    // Not MAP_POPULATE: that hides errors, and comes before the node is known.
    map.advise(Advice::PopulateWrite)?;
    Ok(map)
}

fn map_ordinary(bytes: usize, wish: &MemoryWish, remarks: &mut Vec<String>) -> Result<MmapMut, MemoryError> {
    let length = round_up(bytes, ordinary_page_bytes(), wish.name)?;
    let failed = |source| MemoryError::Map { name: wish.name, bytes: length, source };
    let mut map = MmapOptions::new().len(length).map_anon().map_err(failed)?;
    if wish.huge != HugeWish::Never {
        ask_for_transparent_pages(&map, wish.name, remarks);
    }
    prefer_node(&map, wish, remarks);
    match map.advise(Advice::PopulateWrite) {
        Ok(()) => {}
        // Kernels before 5.14 don't know MADV_POPULATE_WRITE: touch each page instead.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            for byte in map.iter_mut().step_by(ordinary_page_bytes()) {
                *std::hint::black_box(byte) = 0;
            }
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(map)
}

fn ordinary_page_bytes() -> usize {
    use nix::unistd::{SysconfVar, sysconf};
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4_096, |bytes| bytes as usize)
}

fn ask_for_transparent_pages(map: &MmapMut, name: &str, remarks: &mut Vec<String>) {
    let setting = "/sys/kernel/mm/transparent_hugepage/enabled";
    let never = fs::read_to_string(setting).is_ok_and(|text| text.contains("[never]"));
    match map.advise(Advice::HugePage) {
        Ok(()) if !never => {}
        Ok(()) => remarks.push(format!(
            "{name}: transparent huge pages are switched off, so it lies on 4 KiB pages; `echo madvise > {setting}`"
        )),
        Err(error) => remarks.push(format!("{name}: this kernel offers no transparent huge pages ({error})")),
    }
}

fn lock(map: &MmapMut, name: &str, remarks: &mut Vec<String>) -> bool {
    use nix::sys::resource::{Resource, getrlimit};
    let Err(error) = map.lock() else { return true };
    let limit = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft / 1024);
    remarks.push(format!(
        "{name}: {} KiB are not locked ({error}; the limit is {limit} KiB); `ulimit -l unlimited`, or LimitMEMLOCK=infinity \
         in the systemd unit, or grant CAP_IPC_LOCK",
        map.len() / 1024
    ));
    false
}

fn huge_remark(name: &str, length: usize, page_bytes: usize, error: &io::Error) -> String {
    let kib = page_bytes / 1024;
    let folder = format!("/sys/kernel/mm/hugepages/hugepages-{kib}kB");
    if !Path::new(&folder).exists() {
        return format!("{name}: this machine has no hugetlb pages of {kib} KiB ({error})");
    }
    let read = |file: &str| read_number(&format!("{folder}/{file}"));
    let needed = (length / page_bytes) as u64;
    let (total, unused) =
        (read("nr_hugepages"), read("free_hugepages").saturating_sub(read("resv_hugepages")));
    if unused >= needed {
        return format!(
            "{name}: {needed} hugetlb pages of {kib} KiB were refused ({error}) although {unused} are free; raise the \
             cgroup's limit hugetlb.*.max"
        );
    }
    let wanted = total + needed - unused;
    let command = if default_huge_page_kib() == kib as u64 {
        format!("sysctl vm.nr_hugepages={wanted}")
    } else {
        format!("echo {wanted} > {folder}/nr_hugepages")
    };
    let at_boot = match page_bytes {
        0x4000_0000 => {
            format!(", or boot with hugepagesz=1G hugepages={wanted} (memory may be too scattered by now)")
        }
        _ => String::new(),
    };
    format!("{name}: {needed} hugetlb pages of {kib} KiB are needed, {unused} are free; `{command}`{at_boot}")
}

/// Size of the pages that `vm.nr_hugepages` counts, in KiB; 0 if /proc/meminfo doesn't say.
fn default_huge_page_kib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Hugepagesize:"));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn read_number(path: &str) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Asks that the pages be taken from the wished node, before the first of them is touched.
///
/// Preferred and not bound: a bound region on a node that runs out gets its process killed, a preferred one lands
/// elsewhere, and [`check_node`] says so.
fn prefer_node(map: &MmapMut, wish: &MemoryWish, remarks: &mut Vec<String>) {
    let Some(node) = wish.node else { return };
    const WORD_BITS: usize = libc::c_ulong::BITS as usize;
    let mut mask = [0 as libc::c_ulong; 1024 / WORD_BITS];
    let Some(word) = mask.get_mut(node as usize / WORD_BITS) else {
        remarks
            .push(format!("{}: there is no NUMA node {node}; see `ls /sys/devices/system/node`", wish.name));
        return;
    };
    *word = 1 << (node as usize % WORD_BITS);
    // SAFETY: address and length are those of a mapping that `map` keeps alive, the mask outlives the call and has
    // the 1024 bits that are announced (the kernel reads one less than it is told). mbind changes no memory.
    let status = unsafe {
        let preferred = libc::MPOL_PREFERRED as libc::c_ulong;
        libc::syscall(libc::SYS_mbind, map.as_ptr(), map.len(), preferred, mask.as_ptr(), 1025usize, 0usize)
    };
    if status != 0 {
        let error = io::Error::last_os_error();
        let remark = format!(
            "{}: its memory can't be put on NUMA node {node} ({error}); see `ls /sys/devices/system/node`",
            wish.name
        );
        // Each kind of pages that is tried meets the same refusal; it is said once.
        if !remarks.contains(&remark) {
            remarks.push(remark);
        }
    }
}

/// Whether the pages lie on `node`: looks at one page in every 2 MiB, and says where to get more if some don't.
fn check_node(map: &MmapMut, node: u32, kind: PageKind, name: &str, remarks: &mut Vec<String>) -> bool {
    let folder = format!("/sys/devices/system/node/node{node}");
    if !Path::new(&folder).exists() {
        // Asking for it has already been remarked upon.
        return false;
    }
    let step = 1usize << kind.page_bits().unwrap_or(21);
    let addresses: Vec<*const u8> = map.iter().step_by(step).map(std::ptr::from_ref).collect();
    let mut nodes = vec![-1 as libc::c_int; addresses.len()];
    let none = std::ptr::null::<libc::c_int>();
    // SAFETY: both lists have `addresses.len()` entries and outlive the call; without target nodes the call moves
    // nothing and only writes the status list.
    let status = unsafe {
        let (this_process, count) = (0usize, addresses.len());
        libc::syscall(
            libc::SYS_move_pages,
            this_process,
            count,
            addresses.as_ptr(),
            none,
            nodes.as_mut_ptr(),
            0usize,
        )
    };
    if status != 0 {
        remarks
            .push(format!("{name}: cannot tell which NUMA node it lies on ({})", io::Error::last_os_error()));
        return false;
    }
    let astray = nodes.iter().filter(|&&at| at != node as libc::c_int).count();
    if astray > 0 {
        let (looked_at, kib) = (nodes.len(), step / 1024);
        let pages = format!("{folder}/hugepages/hugepages-{kib}kB/nr_hugepages");
        let remedy = match kind {
            PageKind::TransparentOr4KiB => format!("free memory there (`cat {folder}/meminfo`)"),
            _ => format!("`echo {} > {pages}`", read_number(&pages) + astray as u64),
        };
        remarks.push(format!("{name}: {astray} of {looked_at} pages are not on NUMA node {node}; {remedy}"));
    }
    astray == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn wish(huge: HugeWish) -> MemoryWish {
        MemoryWish { huge, node: None, lock: false, name: "test region" }
    }

    fn is_zero_and_writable(region: &Region) {
        for offset in (0..region.len()).step_by(4_096).chain([region.len() - 1]) {
            // SAFETY: offset is below the region's length and the test is its only user.
            let byte = unsafe { &mut *region.as_ptr().add(offset) };
            assert_eq!(*byte, 0);
            *byte = 0xA5;
        }
    }

    #[test]
    fn ordinary_pages_are_rounded_up_aligned_and_resident() {
        let (region, report) = Region::map(10_000, &wish(HugeWish::Never)).expect("10 kB can be mapped");
        assert_eq!(region.len(), 10_000usize.next_multiple_of(ordinary_page_bytes()));
        assert_eq!(region.as_ptr() as usize % ordinary_page_bytes(), 0);
        assert_eq!((report.bytes, report.pages), (region.len(), PageKind::TransparentOr4KiB));
        assert!(report.remarks.is_empty() && !report.node_bound && !report.locked, "{report:?}");
        let mut resident = vec![0u8; region.len() / ordinary_page_bytes()];
        // SAFETY: the region is mapped, and the list has a byte for each of its pages.
        let status = unsafe { libc::mincore(region.as_ptr().cast(), region.len(), resident.as_mut_ptr()) };
        assert_eq!(status, 0);
        assert!(resident.iter().all(|page| page & 1 == 1), "not prefaulted: {resident:?}");
        is_zero_and_writable(&region);
    }

    #[test]
    fn huge_pages_are_got_or_the_remedy_is_named() {
        let (region, report) = Region::map(3 << 20, &wish(HugeWish::TwoMiB)).expect("3 MiB can be mapped");
        is_zero_and_writable(&region);
        if report.pages == PageKind::Huge2MiB {
            assert_eq!((region.len(), region.as_ptr() as usize % (2 << 20)), (4 << 20, 0));
            assert!(report.remarks.is_empty(), "{report:?}");
        } else {
            writeln!(io::stderr(), "skipped: no 2 MiB pages ({:?})", report.remarks).expect("stderr");
            assert_eq!(region.len(), 3 << 20);
            assert!(report.remarks[0].contains("test region"));
        }
    }

    #[test]
    fn what_hugetlb_cannot_give_falls_back_with_a_command() {
        let unused = read_number("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages");
        if unused > 0 {
            writeln!(io::stderr(), "skipped: this machine has free 1 GiB pages").expect("stderr");
            return;
        }
        let (_, report) = Region::map(1 << 20, &wish(HugeWish::OneGiB)).expect("1 GiB or less can be mapped");
        assert_ne!(report.pages, PageKind::Huge1GiB);
        assert!(report.remarks[0].contains("1048576 KiB"), "{:?}", report.remarks);
    }

    #[test]
    fn too_few_huge_pages_fall_back_to_ordinary_ones() {
        let folder = "/sys/kernel/mm/hugepages/hugepages-2048kB";
        let total = read_number(&format!("{folder}/nr_hugepages"));
        if total > 128 || read_number("/proc/sys/vm/nr_overcommit_hugepages") > 0 {
            writeln!(io::stderr(), "skipped: more 2 MiB pages than a test should use up").expect("stderr");
            return;
        }
        let bytes = (total as usize + 1) << 21;
        let (region, report) = Region::map(bytes, &wish(HugeWish::TwoMiB)).expect("ordinary memory is there");
        assert_eq!((region.len(), report.pages), (bytes, PageKind::TransparentOr4KiB));
        assert!(report.remarks[0].contains("hugetlb pages of 2048 KiB"), "{:?}", report.remarks);
        is_zero_and_writable(&region);
    }

    #[test]
    fn the_page_count_in_the_remark_covers_the_need() {
        let folder = "/sys/kernel/mm/hugepages/hugepages-2048kB";
        if !Path::new(folder).exists() {
            writeln!(io::stderr(), "skipped: no 2 MiB pages on this machine").expect("stderr");
            return;
        }
        let remark = huge_remark("pool", 1 << 50, 2 << 20, &io::Error::from_raw_os_error(libc::ENOMEM));
        let number = |text: &str| -> Option<u64> {
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        };
        let asked = remark.split("nr_hugepages=").nth(1).and_then(number);
        let echoed = remark.split("`echo ").nth(1).and_then(number);
        assert!(asked.or(echoed).is_some_and(|pages| pages >= 1 << 29), "{remark}");
    }

    #[test]
    fn node_zero_is_verified_and_an_absent_node_is_remarked_once() {
        let on_zero = MemoryWish { node: Some(0), ..wish(HugeWish::TwoMiB) };
        let (_, report) = Region::map(1 << 20, &on_zero).expect("1 MiB can be mapped");
        assert!(
            report.node_bound || report.remarks.iter().any(|remark| remark.contains("node 0")),
            "{report:?}"
        );
        for absent in [900, 5_000] {
            let nowhere = MemoryWish { node: Some(absent), ..wish(HugeWish::TwoMiB) };
            let (_, report) = Region::map(1 << 20, &nowhere).expect("1 MiB can be mapped");
            assert!(!report.node_bound);
            let refusals =
                report.remarks.iter().filter(|remark| remark.contains("/sys/devices/system/node`"));
            assert_eq!(
                (refusals.count(), report.remarks.iter().any(|one| one.contains("not on NUMA node"))),
                (1, false)
            );
        }
    }

    #[test]
    fn a_lock_is_held_or_its_limit_is_named() {
        let (_, report) = Region::map(1 << 20, &MemoryWish { lock: true, ..wish(HugeWish::Never) })
            .expect("1 MiB can be mapped");
        assert!(
            report.locked || report.remarks.iter().any(|remark| remark.contains("LimitMEMLOCK=infinity"))
        );
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        for bytes in [0, usize::MAX, isize::MAX as usize] {
            let error = Region::map(bytes, &wish(HugeWish::TwoMiB)).map(|_| ()).expect_err("not mappable");
            assert!(matches!(error, MemoryError::Size { .. }), "{error}");
        }
        // Above every address that mmap gives out unasked, so that it is refused whatever the overcommit policy.
        let error = Region::map(1 << 52, &wish(HugeWish::Never)).map(|_| ()).expect_err("4 PiB");
        assert!(error.to_string().starts_with("test region: cannot map"), "{error}");
    }
}
