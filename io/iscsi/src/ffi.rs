//! The few functions of libiscsi (1.12 or later) that a session needs, by hand: everything asynchronous, one command for all
//! requests. What is a number, a pointer or a text is said in its `iscsi.h` and `scsi-lowlevel.h`.
//!
//! Of its structures only the beginning of `scsi_task` is looked at, which has been the same in all these versions.

use std::ffi::{c_char, c_int, c_uchar, c_void};

/// A session; only libiscsi knows what is in it.
#[repr(C)]
pub(crate) struct Context {
    _opaque: [u8; 0],
}

/// The beginning of a command as libiscsi keeps it. There is more behind, so that it is never made or moved here.
#[repr(C)]
pub(crate) struct Task {
    _status: c_int,
    _cdb_size: c_int,
    _direction: c_int,
    _expected: c_int,
    _cdb: [c_uchar; 16],
    /// 0 for none, 1 when less came than was expected.
    pub(crate) residual_status: c_int,
    /// By how many bytes.
    pub(crate) residual: usize,
    _sense_type: c_uchar,
    /// The sense key.
    pub(crate) sense_key: c_int,
    /// Additional sense code and qualifier.
    pub(crate) sense_ascq: c_int,
}

/// As `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) base: *mut c_void,
    pub(crate) bytes: usize,
}

/// Called when something is done: context, status, data (not looked at), and what was passed.
pub(crate) type Callback = extern "C" fn(*mut Context, c_int, *mut c_void, *mut c_void);

pub(crate) const TRANSFER_NONE: c_int = 0;
pub(crate) const TRANSFER_READ: c_int = 1;
pub(crate) const TRANSFER_WRITE: c_int = 2;

pub(crate) const STATUS_GOOD: c_int = 0;
pub(crate) const STATUS_CHECK_CONDITION: c_int = 2;
pub(crate) const STATUS_BUSY: c_int = 8;
pub(crate) const STATUS_RESERVATION_CONFLICT: c_int = 0x18;
pub(crate) const STATUS_TASK_SET_FULL: c_int = 0x28;

/// A session for commands, not for discovery.
pub(crate) const SESSION_NORMAL: c_int = 2;

#[link(name = "iscsi")]
#[expect(unsafe_code, reason = "declares the functions of libiscsi")]
unsafe extern "C" {
    pub(crate) fn iscsi_create_context(initiator: *const c_char) -> *mut Context;
    pub(crate) fn iscsi_destroy_context(context: *mut Context) -> c_int;
    pub(crate) fn iscsi_set_targetname(context: *mut Context, name: *const c_char) -> c_int;
    pub(crate) fn iscsi_set_session_type(context: *mut Context, kind: c_int) -> c_int;
    pub(crate) fn iscsi_set_isid_random(context: *mut Context, random: u32, qualifier: u32) -> c_int;
    pub(crate) fn iscsi_set_initiator_username_pwd(
        context: *mut Context,
        user: *const c_char,
        password: *const c_char,
    ) -> c_int;
    pub(crate) fn iscsi_set_target_username_pwd(
        context: *mut Context,
        user: *const c_char,
        password: *const c_char,
    ) -> c_int;
    pub(crate) fn iscsi_set_noautoreconnect(context: *mut Context, state: c_int);
    pub(crate) fn iscsi_full_connect_async(
        context: *mut Context,
        portal: *const c_char,
        lun: c_int,
        callback: Callback,
        passed: *mut c_void,
    ) -> c_int;
    pub(crate) fn iscsi_get_fd(context: *mut Context) -> c_int;
    pub(crate) fn iscsi_which_events(context: *mut Context) -> c_int;
    pub(crate) fn iscsi_service(context: *mut Context, events: c_int) -> c_int;
    pub(crate) fn iscsi_out_queue_length(context: *mut Context) -> c_int;
    pub(crate) fn iscsi_get_error(context: *mut Context) -> *const c_char;
    pub(crate) fn scsi_create_task(
        cdb_bytes: c_int,
        cdb: *mut c_uchar,
        direction: c_int,
        expected: c_int,
    ) -> *mut Task;
    pub(crate) fn scsi_free_scsi_task(task: *mut Task);
    pub(crate) fn scsi_task_set_iov_out(task: *mut Task, pieces: *mut Piece, count: c_int);
    pub(crate) fn scsi_task_set_iov_in(task: *mut Task, pieces: *mut Piece, count: c_int);
    pub(crate) fn iscsi_scsi_command_async(
        context: *mut Context,
        lun: c_int,
        task: *mut Task,
        callback: Callback,
        data: *mut c_void,
        passed: *mut c_void,
    ) -> c_int;
}
