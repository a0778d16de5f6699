//! What raft-rs reads of the log: the newest entries from memory, older ones through `fetch`.

use crate::abi::{FetchFn, Sink, FETCHED, FETCH_LATER};
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::storage::GetEntriesContext;
use raft::{Error, RaftState, Result, Storage, StorageError};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::raw::c_void;

pub struct Fetch {
    pub function: FetchFn,
    pub context: *mut c_void,
}

pub struct Log {
    hard_state: HardState,
    conf_state: ConfState,
    // The log begins after this entry: (index, term).
    begin: (u64, u64),
    last: u64,
    // The newest entries, up to `last` without a gap.
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    recent_bytes_max: usize,
    // Of all that was appended since the start, whether in memory or not, and of what was not known
    // to be committed then: where each term begins, (index, term). raft-rs asks for terms at any
    // time, also while the log cannot be read.
    terms: VecDeque<(u64, u64)>,
    // What raft-rs takes next to give it out.
    ahead: RefCell<Vec<Entry>>,
    fetch: Fetch,
    pub snapshot: Option<Snapshot>,
    // The replica for which one was looked for last. 0: none since it was asked.
    pub snapshot_wanted_by: Cell<u64>,
}

pub fn size_of(entry: &Entry) -> usize {
    entry.data.len() + 32
}

impl Log {
    pub fn new(
        hard_state: HardState,
        conf_state: ConfState,
        begin: (u64, u64),
        last: u64,
        recent_bytes_max: usize,
        fetch: Fetch,
    ) -> Log {
        Log {
            hard_state,
            conf_state,
            begin,
            last,
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_bytes_max,
            terms: VecDeque::new(),
            ahead: RefCell::new(Vec::new()),
            fetch,
            snapshot: None,
            snapshot_wanted_by: Cell::new(0),
        }
    }

    pub fn begin(&self) -> (u64, u64) {
        self.begin
    }

    /// From this entry on they are in memory.
    pub fn recent_first(&self) -> u64 {
        self.last + 1 - self.recent.len() as u64
    }

    /// Of the entries from `index` on, before anything is appended.
    pub fn read_terms(&mut self, index: u64) -> Result<()> {
        let lowest = index.max(self.begin.0 + 1);
        let mut end = self.last;
        while end >= lowest {
            let term = self.read_term(end)?;
            let (mut another, mut first) = (lowest - 1, end);
            while first - another > 1 {
                let middle = another + (first - another) / 2;
                if self.read_term(middle)? == term {
                    first = middle;
                } else {
                    another = middle;
                }
            }
            self.terms.push_front((first, term));
            end = first - 1;
        }
        Ok(())
    }

    fn read_term(&self, index: u64) -> Result<u64> {
        Ok(self.fetch(index, index + 1, u64::MAX)?[0].term)
    }

    /// False: [low, high) cannot be read just now. raft-rs would panic if it asked for them.
    pub fn readable(&self, low: u64, high: u64) -> bool {
        let high = high.min(self.recent_first());
        low >= high || !is_later(&self.fetch(low, high, u64::MAX))
    }

    /// The same of the first of them, which are kept until raft-rs takes them to give them out.
    pub fn read_ahead(&self, low: u64, high: u64, bytes_max: u64) -> bool {
        let high = high.min(self.recent_first());
        if low >= high || self.ahead.borrow().first().map_or(false, |entry| entry.index == low) {
            return true;
        }
        let fetched = self.fetch(low, high, bytes_max);
        let later = is_later(&fetched);
        self.ahead.replace(fetched.unwrap_or_default());
        !later
    }

    /// Appends; what has these indexes already, and all behind it, is replaced.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while self.last >= first.index {
            match self.recent.pop_back() {
                Some(entry) => {
                    self.recent_bytes -= size_of(&entry);
                    self.last -= 1;
                }
                None => self.last = first.index - 1,
            }
        }
        assert!(self.last + 1 == first.index, "the log has a gap");
        while self.terms.back().map_or(false, |begun| begun.0 >= first.index) {
            self.terms.pop_back();
        }
        for entry in entries {
            if self.terms.back().map_or(true, |begun| begun.1 != entry.term) {
                self.terms.push_back((entry.index, entry.term));
            }
            self.recent_bytes += size_of(entry);
            self.recent.push_back(entry.clone());
        }
        self.last += entries.len() as u64;
    }

    /// Forgets the oldest of the entries in memory, as far as they are too many, and not those above
    /// `index`, which may be nowhere else. The last one is about to be read.
    pub fn evict(&mut self, index: u64) {
        while self.recent_bytes > self.recent_bytes_max && self.recent_first() <= index.min(self.last - 1) {
            let Some(entry) = self.recent.pop_front() else { return };
            self.recent_bytes -= size_of(&entry);
        }
    }

    /// The log begins after `index`, which it has.
    pub fn cut(&mut self, index: u64, term: u64) {
        while self.recent_first() <= index {
            let Some(entry) = self.recent.pop_front() else { break };
            self.recent_bytes -= size_of(&entry);
        }
        while self.terms.len() > 1 && self.terms[1].0 <= index + 1 {
            self.terms.pop_front();
        }
        self.begin = (index, term);
    }

    /// The log is empty and begins after `index`.
    pub fn restart(&mut self, index: u64, term: u64) {
        self.recent.clear();
        self.recent_bytes = 0;
        self.terms.clear();
        self.ahead.borrow_mut().clear();
        self.begin = (index, term);
        self.last = index;
        self.snapshot = None;
    }

    fn fetch(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>> {
        let mut sink = Sink { entries: Vec::new() };
        // SAFETY: raft.h: `function` may be called with its context as long as the group lives.
        let fetched = unsafe { (self.fetch.function)(self.fetch.context, low, high, bytes_max, &mut sink) };
        let in_order = sink.entries.iter().zip(low..).all(|(entry, index)| entry.index == index);
        if fetched == FETCHED && in_order && !sink.entries.is_empty() {
            return Ok(sink.entries);
        }
        if fetched == FETCH_LATER {
            return Err(Error::Store(StorageError::LogTemporarilyUnavailable));
        }
        let what = format!("entries {}..{} could not be read from the log", low, high);
        Err(Error::Store(StorageError::Other(what.into())))
    }
}

fn is_later<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Store(StorageError::LogTemporarilyUnavailable)))
}

impl Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.begin.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last + 1, "entries behind the end of the log");
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let recent_first = self.recent_first();
        let mut entries = Vec::new();
        let mut bytes = 0u64;
        if low < recent_first {
            let fetched = high.min(recent_first);
            let ahead = if context.can_async() { Vec::new() } else { self.ahead.take() };
            let is_ahead = ahead.first().map_or(false, |entry| entry.index == low)
                && ahead.last().map_or(false, |entry| entry.index < fetched);
            entries = if is_ahead { ahead } else { self.fetch(low, fetched, bytes_max)? };
            if (entries.len() as u64) < fetched - low {
                return Ok(entries);
            }
            bytes = entries.iter().map(|entry| size_of(entry) as u64).sum();
        }
        for index in low.max(recent_first)..high {
            let entry = &self.recent[(index - recent_first) as usize];
            bytes = bytes.saturating_add(size_of(entry) as u64);
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.begin.0 {
            return Ok(self.begin.1);
        }
        if index < self.begin.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        if index > self.last {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let begun = self.terms.partition_point(|begun| begun.0 <= index);
        if begun > 0 {
            return Ok(self.terms[begun - 1].1);
        }
        let term = self.read_term(index);
        // What raft-rs takes without a panic.
        if is_later(&term) { Err(Error::Store(StorageError::Unavailable)) } else { term }
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.begin.0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        if let Some(snapshot) = &self.snapshot {
            let index = snapshot.get_metadata().index;
            if index >= request_index && index >= self.begin.0 {
                return Ok(snapshot.clone());
            }
        }
        self.snapshot_wanted_by.set(to);
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
