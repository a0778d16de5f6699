//! The types of raft.h, which says what they mean.

use std::os::raw::c_void;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    pub data: *const u8,
    pub size: usize,
}

impl Bytes {
    pub fn of(slice: &[u8]) -> Bytes {
        Bytes { data: slice.as_ptr(), size: slice.len() }
    }

    /// # Safety
    /// As raft.h has it: `size` readable bytes, or none.
    pub unsafe fn as_slice<'a>(self) -> &'a [u8] {
        if self.size == 0 {
            return &[];
        }
        std::slice::from_raw_parts(self.data, self.size)
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Numbers {
    pub data: *const u64,
    pub count: usize,
}

impl Numbers {
    pub fn of(slice: &[u64]) -> Numbers {
        Numbers { data: slice.as_ptr(), count: slice.len() }
    }

    /// # Safety
    /// As raft.h has it: `count` readable numbers, or none.
    pub unsafe fn to_vec(self) -> Vec<u64> {
        if self.count == 0 {
            return Vec::new();
        }
        std::slice::from_raw_parts(self.data, self.count).to_vec()
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Place {
    pub index: u64,
    pub term: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Entry {
    pub place: Place,
    pub kind: u8,
    pub data: Bytes,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConfState {
    pub voters: Numbers,
    pub learners: Numbers,
    pub voters_outgoing: Numbers,
    pub learners_next: Numbers,
    pub auto_leave: bool,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConfStateAt {
    pub index: u64,
    pub state: ConfState,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    pub term: u64,
    pub vote: u64,
    pub commit: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Message {
    pub to: u64,
    pub kind: u8,
    pub after_persist: bool,
    pub data: Bytes,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ReadState {
    pub context: u64,
    pub index: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct MemberChange {
    pub kind: u8,
    pub node: u64,
}

pub const FETCHED: i32 = 0;
pub const FETCH_LATER: i32 = 1;

pub type FetchFn = unsafe extern "C" fn(
    context: *mut c_void,
    low: u64,
    high: u64,
    bytes_max: u64,
    sink: *mut Sink,
) -> i32;

/// Where a fetch puts entries.
pub struct Sink {
    pub entries: Vec<raft::eraftpb::Entry>,
}

#[repr(C)]
pub struct Options {
    pub node: u64,
    pub seed: u64,
    pub election_ticks: u32,
    pub heartbeat_ticks: u32,
    pub message_bytes_max: u64,
    pub messages_in_flight_max: u32,
    pub uncommitted_bytes_max: u64,
    pub committed_bytes_per_ready_max: u64,
    pub entry_bytes_max: u64,
    pub recent_bytes_max: u64,
    pub installs_snapshots: bool,
}

#[repr(C)]
pub struct Start {
    pub hard_state: HardState,
    pub conf_state: ConfState,
    pub begin: Place,
    pub last: u64,
    pub applied: u64,
    pub fetch: FetchFn,
    pub fetch_context: *mut c_void,
}

#[repr(C)]
pub struct Ready {
    pub number: u64,
    pub role: u8,
    pub term: u64,
    pub leader: u64,
    pub must_sync: bool,
    pub has_hard_state: bool,
    pub hard_state: HardState,
    pub entries: *const Entry,
    pub entries_count: usize,
    pub committed: *const Entry,
    pub committed_count: usize,
    pub conf_states: *const ConfStateAt,
    pub conf_states_count: usize,
    pub messages: *const Message,
    pub messages_count: usize,
    pub read_states: *const ReadState,
    pub read_states_count: usize,
    pub has_snapshot: bool,
    pub snapshot: Place,
    pub snapshot_conf_state: ConfState,
    pub snapshot_data: Bytes,
    pub removed: bool,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Progress {
    pub node: u64,
    pub matched: u64,
    pub next: u64,
    pub state: u8,
    pub recently_active: bool,
}

#[repr(C)]
pub struct Status {
    pub role: u8,
    pub term: u64,
    pub leader: u64,
    pub commit: u64,
    pub applied: u64,
    pub last: u64,
    pub leads_current_term: bool,
    pub progress: *const Progress,
    pub progress_count: usize,
}
