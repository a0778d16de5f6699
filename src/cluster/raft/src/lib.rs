//! raft-rs as the functions of raft.h. No thread, no clock, no I/O of its own; a panic ends in the
//! function that met it, and the group is not used again.

mod abi;
mod group;
mod storage;
mod wire;

use abi::{Bytes, Entry, MemberChange, Options, Place, Ready, Sink, Start, Status};
use group::{Group, Outcome, OK, PANICKED};
use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A panic is told through the group that met it, and to nobody else.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let payload = info.payload();
            let what = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
                (Some(text), _) => text,
                (_, Some(text)) => text.as_str(),
                _ => "a panic without words",
            };
            let place = info.location().map_or(String::new(), |at| {
                let file = at.file().rsplit('/').next().unwrap_or("");
                format!(" ({}:{})", file, at.line())
            });
            PANIC.with(|words| *words.borrow_mut() = format!("raft-rs panicked: {}{}", what, place));
        }));
    });
}

fn guarded<T>(what: impl FnOnce() -> Result<T, (i32, String)>) -> Result<T, (i32, String)> {
    match catch_unwind(AssertUnwindSafe(what)) {
        Ok(result) => result,
        Err(_) => Err((PANICKED, PANIC.with(|words| std::mem::take(&mut *words.borrow_mut())))),
    }
}

fn on_group<T>(group: *mut Group, what: impl FnOnce(&mut Group) -> Result<T, (i32, String)>) -> Result<T, i32> {
    // SAFETY: raft.h: made by mqttd_raft_new, not freed, used by one thread at a time.
    let group = unsafe { &mut *group };
    if group.panicked {
        return Err(PANICKED);
    }
    match guarded(|| what(&mut *group)) {
        Ok(value) => Ok(value),
        Err((code, words)) => {
            group.panicked = code == PANICKED;
            group.error = words;
            Err(code)
        }
    }
}

fn code(result: Result<(), i32>) -> i32 {
    result.err().unwrap_or(OK)
}

fn place(result: Result<Place, i32>, out: *mut Place) -> i32 {
    match result {
        Ok(value) => {
            // SAFETY: raft.h: `out` may be written.
            unsafe { *out = value };
            OK
        }
        Err(code) => code,
    }
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_new(
    options: *const Options,
    start: *const Start,
    error: *mut u8,
    error_bytes: usize,
    out: *mut *mut Group,
) -> i32 {
    keep_panics();
    match guarded(|| Group::new(&*options, &*start)) {
        Ok(group) => {
            *out = Box::into_raw(Box::new(group));
            OK
        }
        Err((code, words)) => {
            let kept = words.len().min(error_bytes.saturating_sub(1));
            std::ptr::copy_nonoverlapping(words.as_ptr(), error, kept);
            *error.add(kept) = 0;
            code
        }
    }
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_free(group: *mut Group) {
    let _ = guarded(|| {
        drop(Box::from_raw(group));
        Ok(())
    });
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_error(group: *const Group) -> Bytes {
    Bytes::of((*group).error.as_bytes())
}

#[no_mangle]
pub extern "C" fn mqttd_raft_tick(group: *mut Group, heartbeats: bool) -> i32 {
    code(on_group(group, |group| group.tick(heartbeats)))
}

#[no_mangle]
pub extern "C" fn mqttd_raft_step(group: *mut Group, message: Bytes, takes_entries: bool) -> i32 {
    // SAFETY: raft.h: the view is valid during the call.
    code(on_group(group, |group| group.step(unsafe { message.as_slice() }, takes_entries)))
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_propose(group: *mut Group, entries: *const Bytes, count: usize, first: *mut Place) -> i32 {
    let entries = if count == 0 { &[] } else { std::slice::from_raw_parts(entries, count) };
    place(on_group(group, |group| group.propose(entries)), first)
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_propose_members(
    group: *mut Group,
    changes: *const MemberChange,
    count: usize,
    at: *mut Place,
) -> i32 {
    let changes = if count == 0 { &[] } else { std::slice::from_raw_parts(changes, count) };
    place(on_group(group, |group| group.propose_members(changes)), at)
}

#[no_mangle]
pub extern "C" fn mqttd_raft_read_index(group: *mut Group, context: u64) -> i32 {
    code(on_group(group, |group| group.read_index(context)))
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_has_ready(group: *const Group) -> bool {
    guarded(|| Ok((*group).has_ready())).unwrap_or(false)
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_take_snapshot_wanted(group: *mut Group) -> u64 {
    (*group).take_snapshot_wanted()
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_ready(group: *mut Group, out: *mut Ready) -> i32 {
    code(on_group(group, |group| group.ready(&mut *out)))
}

#[no_mangle]
pub extern "C" fn mqttd_raft_persisted(group: *mut Group, number: u64) -> i32 {
    code(on_group(group, |group| group.persisted(number)))
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_compact(group: *mut Group, index: u64, begin: *mut Place) -> i32 {
    place(on_group(group, |group| group.compact(index)), begin)
}

#[no_mangle]
pub extern "C" fn mqttd_raft_offer_snapshot(group: *mut Group, index: u64, data: Bytes) -> i32 {
    // SAFETY: raft.h: the view is valid during the call.
    code(on_group(group, |group| group.offer_snapshot(index, unsafe { data.as_slice() })))
}

#[no_mangle]
pub extern "C" fn mqttd_raft_report_snapshot(group: *mut Group, to: u64, arrived: bool) -> i32 {
    code(on_group(group, |group| group.report_snapshot(to, arrived)))
}

#[no_mangle]
pub extern "C" fn mqttd_raft_report_unreachable(group: *mut Group, to: u64) -> i32 {
    code(on_group(group, |group| group.report_unreachable(to)))
}

#[no_mangle]
pub extern "C" fn mqttd_raft_tell_committed(group: *mut Group) -> i32 {
    code(on_group(group, |group| group.tell_committed()))
}

#[no_mangle]
pub extern "C" fn mqttd_raft_transfer(group: *mut Group, to: u64) -> i32 {
    code(on_group(group, |group| group.transfer(to)))
}

#[no_mangle]
pub extern "C" fn mqttd_raft_campaign(group: *mut Group) -> i32 {
    code(on_group(group, |group| group.campaign()))
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_status(group: *mut Group, out: *mut Status) -> i32 {
    let status = |group: &mut Group| -> Outcome {
        group.status(&mut *out);
        Ok(())
    };
    code(on_group(group, status))
}

/// # Safety
/// raft.h
#[no_mangle]
pub unsafe extern "C" fn mqttd_raft_sink(sink: *mut Sink, entry: *const Entry) -> bool {
    match group::entry_from(&*entry) {
        Some(entry) => {
            (*sink).entries.push(entry);
            true
        }
        None => false,
    }
}
