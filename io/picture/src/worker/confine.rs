//! What a worker gives up before it reads the first byte: files, network, other processes, memory and time without bounds.
//!
//! The kernel's filter of system calls (seccomp(2)) leaves what a decoder needs: reading and writing what is open, memory,
//! and ending. It needs no privilege, so it works in containers and for every user. Where the kernel has none, there is no
//! worker: a decoder that is not confined does not run.

use std::io;

use rustix::process::{Resource, Rlimit, nice, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Memory of a worker: a picture of 8 megapixels needs 17 for reference, 12 MiB each, and the program itself is mapped.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Seconds of processor time in a worker's life: its pictures of 3 s each, and some.
const PROCESSOR_SECONDS_MAX: u64 = 600;
/// How far behind others it stands in the queue for the processor (nice(2)): recording comes first.
const NICENESS: i32 = 19;
/// The first descriptor that is not standard input, output or error.
const FIRST_FILE: u32 = 3;

/// What it may still ask of the kernel; everything else is answered with EPERM.
const CALLS: [libc::c_long; 24] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    // How many processors there are, which the decoder asks to choose its code.
    libc::SYS_sched_getaffinity,
    libc::SYS_getrandom,
    // abort(3): a decoder that finds itself broken ends itself.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
];

/// Gives it all up.
pub(super) fn confine() -> io::Result<()> {
    close_all()?;
    let limits = [
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Cpu, PROCESSOR_SECONDS_MAX),
        (Resource::Nofile, u64::from(FIRST_FILE)),
        (Resource::Fsize, 0),
        // A core dump would lay footage where nobody looks for it.
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    // Recording does not suffer where these two are refused, it only shares more evenly.
    let _ = nice(NICENESS);
    batch();
    filter()
}

/// Closes what the program that started this one left open, whatever its flags.
fn close_all() -> io::Result<()> {
    // SAFETY: close_range(2) takes three numbers. This process has just begun: nothing of it owns a descriptor above 2.
    #[expect(unsafe_code, reason = "neither std nor rustix has close_range")]
    let status = unsafe { libc::syscall(libc::SYS_close_range, FIRST_FILE, libc::c_uint::MAX, 0) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for long slices of what processor time is left over (SCHED_BATCH, sched(7)).
fn batch() {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: it reads one struct, which lives, and is about this process.
    #[expect(unsafe_code, reason = "neither std nor rustix has sched_setscheduler")]
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameter) };
}

/// Leaves this process the calls of [`CALLS`], for good.
fn filter() -> io::Result<()> {
    let rules = CALLS.into_iter().map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM).unwrap_or(1));
    let architecture = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(io::Error::other)?;
    // Sets PR_SET_NO_NEW_PRIVS, too.
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}
