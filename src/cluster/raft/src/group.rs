//! One group: a RawNode and what it must not be left alone with (the pitfalls are named in raft.h).

use crate::abi;
use crate::storage::Log;
use protobuf::{CodedInputStream, Message as _};
use raft::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    HardState, Message, MessageType, Snapshot,
};
use raft::prelude::ConfChangeTransition;
use raft::{Config, Error, ProgressState, RawNode, SnapshotStatus, StateRole, Storage};
use raft_proto::ConfChangeI;

pub const OK: i32 = 0;
pub const NOT_LEADER: i32 = 1;
pub const FULL: i32 = 2;
pub const BUSY: i32 = 3;
pub const INVALID: i32 = 4;
pub const REFUSED: i32 = 5;
pub const UNKNOWN_PEER: i32 = 6;
pub const INSTALLING: i32 = 7;
pub const REMOVED: i32 = 8;
pub const PANICKED: i32 = 9;
pub const NOT_INSTALLED: i32 = 10;

pub type Outcome = Result<(), (i32, String)>;

fn fail<T>(code: i32, words: impl Into<String>) -> Result<T, (i32, String)> {
    Err((code, words.into()))
}

/// What `ready` hands out: kept here while raft.h's views of it are valid.
#[derive(Default)]
pub struct Out {
    owned_entries: Vec<Entry>,
    owned_committed: Vec<Entry>,
    owned_messages: Vec<Vec<u8>>,
    owned_confs: Vec<(u64, ConfState)>,
    owned_snapshot: Snapshot,
    entries: Vec<abi::Entry>,
    committed: Vec<abi::Entry>,
    confs: Vec<abi::ConfStateAt>,
    messages: Vec<abi::Message>,
    reads: Vec<abi::ReadState>,
    progress: Vec<abi::Progress>,
}

pub struct Group {
    node: RawNode<Log>,
    seed: u64,
    election_ticks: u64,
    entry_bytes_max: usize,
    committed_bytes_max: u64,
    installs_snapshots: bool,
    // Whose entries and snapshots are given out, up to this index.
    given_out: u64,
    // The configuration from each of these entries on, as far back as a snapshot may be.
    confs: Vec<(u64, ConfState)>,
    // In this term the log is its leader's up to this index: (term, index).
    verified: (u64, u64),
    // A snapshot that is being installed: the Ready that it came with, its index.
    installing: Option<(u64, u64)>,
    pub removed: bool,
    pub panicked: bool,
    pub error: String,
    out: Out,
}

fn conf_of(conf: &ConfState) -> abi::ConfState {
    abi::ConfState {
        voters: abi::Numbers::of(conf.get_voters()),
        learners: abi::Numbers::of(conf.get_learners()),
        voters_outgoing: abi::Numbers::of(conf.get_voters_outgoing()),
        learners_next: abi::Numbers::of(conf.get_learners_next()),
        auto_leave: conf.auto_leave,
    }
}

/// # Safety
/// As raft.h has it.
unsafe fn to_conf(conf: &abi::ConfState) -> ConfState {
    let mut result = ConfState::default();
    result.set_voters(conf.voters.to_vec());
    result.set_learners(conf.learners.to_vec());
    result.set_voters_outgoing(conf.voters_outgoing.to_vec());
    result.set_learners_next(conf.learners_next.to_vec());
    result.auto_leave = conf.auto_leave;
    result
}

fn is_member(conf: &ConfState, node: u64) -> bool {
    conf.get_voters().contains(&node)
        || conf.get_learners().contains(&node)
        || conf.get_voters_outgoing().contains(&node)
}

fn entry_of(entry: &Entry) -> abi::Entry {
    abi::Entry {
        place: abi::Place { index: entry.index, term: entry.term },
        kind: entry.get_entry_type() as u8,
        data: abi::Bytes::of(&entry.data),
    }
}

pub fn entry_from(entry: &abi::Entry) -> Option<Entry> {
    let mut result = Entry::default();
    result.index = entry.place.index;
    result.term = entry.place.term;
    result.set_entry_type(match entry.kind {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return None,
    });
    // SAFETY: raft.h: the caller's views are valid during the call.
    result.data = bytes::Bytes::copy_from_slice(unsafe { entry.data.as_slice() });
    Some(result)
}

fn change_in(entry: &Entry) -> Option<ConfChangeV2> {
    match entry.get_entry_type() {
        EntryType::EntryNormal => None,
        EntryType::EntryConfChange => {
            let mut change = ConfChange::default();
            change.merge_from_bytes(&entry.data).ok()?;
            Some(change.into_v2())
        }
        EntryType::EntryConfChangeV2 => {
            let mut change = ConfChangeV2::default();
            change.merge_from_bytes(&entry.data).ok()?;
            Some(change)
        }
    }
}

/// Of entries that a leader sends: its term, and index and term of the last one, or of the one that
/// they come behind.
fn appended_by(message: &Message) -> Option<(u64, u64, u64)> {
    if message.get_msg_type() != MessageType::MsgAppend {
        return None;
    }
    let last = message.get_entries().last().map(|entry| (entry.index, entry.term));
    let (index, term) = last.unwrap_or((message.index, message.log_term));
    Some((message.term, index, term))
}

fn is_vote(message: &Message) -> bool {
    matches!(
        message.get_msg_type(),
        MessageType::MsgRequestVote | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse
    )
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Group {
    /// How long this member waits beyond the shortest election timeout. raft-rs draws that at
    /// random when a term begins, and members that draw the same, or nearly, stand in each other's
    /// way: with many groups some always do. Ours are as far apart as the ticks allow, and in each
    /// term another member's is the shortest.
    fn drawn(&self) -> u64 {
        let id = self.node.raft.id;
        let first = mix(self.seed ^ mix(self.node.raft.term)) % self.election_ticks;
        let Some((_, conf)) = self.confs.last() else { return first };
        let voters = || conf.get_voters().iter().chain(conf.get_voters_outgoing());
        let rank = voters().filter(|other| **other < id).count() as u64;
        let members = voters().count().max(1) as u64;
        (first + rank * self.election_ticks / members) % self.election_ticks
    }

    /// # Safety
    /// As raft.h has it: what `start` points to is readable; `fetch` works while the group lives.
    pub unsafe fn new(options: &abi::Options, start: &abi::Start) -> Result<Group, (i32, String)> {
        let conf = to_conf(&start.conf_state);
        if start.applied < start.begin.index || start.applied > start.last {
            return fail(INVALID, format!("the log has {}..{}, but {} is applied",
                start.begin.index, start.last, start.applied));
        }
        // The commit index is written late, and may be less than what is applied.
        let commit = start.hard_state.commit.max(start.applied);
        if commit > start.last {
            return fail(INVALID, format!("entry {} is committed, but the log ends at {}", commit, start.last));
        }
        let mut hard_state = HardState::default();
        hard_state.term = start.hard_state.term.max(start.begin.term);
        hard_state.vote = start.hard_state.vote;
        hard_state.commit = commit;
        let fetch = crate::storage::Fetch { function: start.fetch, context: start.fetch_context };
        let mut log = Log::new(hard_state, conf.clone(), (start.begin.index, start.begin.term), start.last,
            options.recent_bytes_max as usize, fetch);
        if let Err(error) = log.read_terms(commit) {
            return fail(BUSY, error.to_string());
        }
        let election_ticks = options.election_ticks as usize;
        let config = Config {
            id: options.node,
            election_tick: election_ticks,
            heartbeat_tick: options.heartbeat_ticks as usize,
            min_election_tick: election_ticks,
            max_election_tick: 2 * election_ticks,
            applied: start.applied,
            max_size_per_msg: options.message_bytes_max,
            max_inflight_msgs: options.messages_in_flight_max as usize,
            max_uncommitted_size: options.uncommitted_bytes_max.max(options.message_bytes_max),
            max_committed_size_per_ready: options.committed_bytes_per_ready_max,
            check_quorum: true,
            pre_vote: true,
            skip_bcast_commit: true,
            batch_append: true,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = match RawNode::new(&config, log, &logger) {
            Ok(node) => node,
            Err(error) => return fail(INVALID, error.to_string()),
        };
        Ok(Group {
            node,
            seed: options.seed,
            election_ticks: u64::from(options.election_ticks),
            entry_bytes_max: options.entry_bytes_max as usize,
            committed_bytes_max: options.committed_bytes_per_ready_max,
            installs_snapshots: options.installs_snapshots,
            given_out: start.applied,
            confs: vec![(start.applied, conf)],
            verified: (0, 0),
            installing: None,
            removed: false,
            panicked: false,
            error: String::new(),
            out: Out::default(),
        })
    }

    /// Nothing but `persisted` is done to a group that waits for a snapshot's installation, or to
    /// one that this node was removed from: raft-rs would panic.
    fn usable(&self) -> Outcome {
        if self.removed {
            return fail(REMOVED, "this node was removed from the group");
        }
        if self.installing.is_some() {
            return fail(INSTALLING, "a snapshot is being installed");
        }
        Ok(())
    }

    fn leading(&self) -> Outcome {
        self.usable()?;
        if self.node.raft.state != StateRole::Leader {
            return fail(NOT_LEADER, "this node does not lead the group");
        }
        Ok(())
    }

    fn votes_alone(&self) -> bool {
        let voters = self.confs.last().map(|(_, conf)| conf);
        voters.map_or(false, |conf| conf.get_voters().len() == 1 && conf.get_voters_outgoing().is_empty())
    }

    pub fn tick(&mut self, heartbeats: bool) -> Outcome {
        self.usable()?;
        let waits_for = self.election_ticks + self.drawn();
        let raft = &mut self.node.raft;
        raft.set_randomized_election_timeout(waits_for as usize);
        // Whoever was elected between two heartbeats of the others waits for the next, once.
        if raft.state == StateRole::Leader && !heartbeats
            && raft.heartbeat_elapsed() + 1 >= raft.heartbeat_timeout() {
            return Ok(());
        }
        // Whoever votes alone is elected in the same call, and must have its log on the disk.
        if self.votes_alone() && self.unpersisted() && self.node.raft.state != StateRole::Leader {
            return Ok(());
        }
        if self.node.raft.state != StateRole::Leader && self.needs_old_entries() {
            return Ok(());
        }
        self.node.tick();
        self.leave_joint()
    }

    /// What is committed and not given out yet is on the disk alone. A candidate reads it, and
    /// cannot wait; of who can give it out it is gone in a moment.
    fn needs_old_entries(&self) -> bool {
        let committed = self.node.raft.raft_log.committed;
        self.given_out < committed && self.given_out + 1 < self.node.store().recent_first()
    }

    fn can_give_out(&self) -> bool {
        let log = &self.node.raft.raft_log;
        let end = log.committed.min(log.persisted) + 1;
        log.unstable_snapshot().is_some()
            || self.node.store().read_ahead(self.given_out + 1, end, self.committed_bytes_max)
    }

    fn unpersisted(&self) -> bool {
        self.node.raft.raft_log.persisted != self.node.raft.raft_log.last_index()
    }

    /// Whoever entered the joint configuration leaves it when it has applied the entry; if another
    /// leads by then, nobody would.
    fn leave_joint(&mut self) -> Outcome {
        let raft = &self.node.raft;
        let joint = self.confs.last().map_or(false, |(_, conf)| conf.auto_leave);
        if joint && raft.state == StateRole::Leader && raft.commit_to_current_term() && !raft.has_pending_conf() {
            let _ = self.node.propose_conf_change(Vec::new(), ConfChangeV2::default());
        }
        Ok(())
    }

    pub fn step(&mut self, data: &[u8], takes_entries: bool) -> Outcome {
        self.usable()?;
        if !crate::wire::is_plain(data) {
            return fail(INVALID, "not a Raft message");
        }
        let shared = bytes::Bytes::copy_from_slice(data);
        let mut message = Message::default();
        let mut input = CodedInputStream::from_carllerche_bytes(&shared);
        if message.merge_from(&mut input).is_err() || input.check_eof().is_err() {
            return fail(INVALID, "not a Raft message");
        }
        if message.to != self.node.raft.id {
            return fail(INVALID, "a Raft message for another node");
        }
        // A leader that is asked to propose for others could not tell them what became of it.
        if message.get_msg_type() == MessageType::MsgPropose {
            return fail(INVALID, "a proposal from another node");
        }
        if !takes_entries && message.get_msg_type() == MessageType::MsgAppend {
            return fail(FULL, "too much waits to be written");
        }
        if !self.installs_snapshots && message.get_msg_type() == MessageType::MsgSnapshot {
            return fail(NOT_INSTALLED, "the leader sends its state instead of entries that it has no more, and this release takes none");
        }
        if self.says_that_it_lost_entries(&message) {
            self.probe_anew(&message);
            return Ok(());
        }
        if message.get_msg_type() == MessageType::MsgTimeoutNow && self.needs_old_entries() {
            return Ok(());
        }
        self.keep_unreadable(&mut message);
        let answer = self.bound_commit(&mut message);
        let appended = appended_by(&message);
        let result = self.node.step(message);
        self.node.raft.msgs.extend(answer);
        self.verify(appended);
        match result {
            Ok(()) | Err(Error::ProposalDropped) => Ok(()),
            Err(Error::StepPeerNotFound) => fail(UNKNOWN_PEER, "an answer from a node that is no member"),
            Err(error) => fail(INVALID, error.to_string()),
        }
    }

    /// Votes tell a candidate what is committed, and raft-rs reads that. It need not know.
    fn keep_unreadable(&self, message: &mut Message) {
        let raft = &self.node.raft;
        let stands = matches!(raft.state, StateRole::Candidate | StateRole::PreCandidate);
        let (low, high) = (raft.raft_log.committed + 1, message.commit.min(raft.raft_log.last_index()) + 1);
        if stands && is_vote(message) && low < high && !self.node.store().readable(low, high) {
            message.commit = 0;
        }
    }

    /// A heartbeat says how far entries are committed that this member once said to have. Since it
    /// began anew it may lack some, or have in their place what they had replaced: where writes
    /// are not synced, a power cut takes the last ones. Only of what was compared with the leader's
    /// log is that true. Of more it is answered that it is not here.
    fn bound_commit(&self, message: &mut Message) -> Option<Message> {
        let raft = &self.node.raft;
        if message.get_msg_type() != MessageType::MsgHeartbeat || message.term < raft.term {
            return None;
        }
        let compared = if self.verified.0 == message.term { self.verified.1 } else { 0 };
        let known = compared.max(raft.raft_log.committed);
        if message.commit <= known {
            return None;
        }
        let mut answer = Message::default();
        answer.set_msg_type(MessageType::MsgAppendResponse);
        answer.from = raft.id;
        answer.to = message.from;
        answer.term = message.term;
        answer.index = message.commit;
        answer.reject = true;
        answer.reject_hint = message.commit.min(raft.raft_log.last_index());
        answer.log_term = raft.raft_log.term(answer.reject_hint).unwrap_or(0);
        answer.commit = raft.raft_log.committed;
        message.commit = known;
        Some(answer)
    }

    /// What has the leader's term at an index is the leader's log up to there.
    fn verify(&mut self, appended: Option<(u64, u64, u64)>) {
        let Some((term, index, entry_term)) = appended else { return };
        let raft = &self.node.raft;
        if term != raft.term || raft.state != StateRole::Follower || !raft.raft_log.match_term(index, entry_term) {
            return;
        }
        self.verified = if self.verified.0 == term { (term, self.verified.1.max(index)) } else { (term, index) };
    }

    /// raft-rs takes this for an answer that comes late, and the member for one that has it all.
    fn says_that_it_lost_entries(&self, message: &Message) -> bool {
        let raft = &self.node.raft;
        if message.get_msg_type() != MessageType::MsgAppendResponse || !message.reject
            || message.request_snapshot != 0 || message.term != raft.term || raft.state != StateRole::Leader {
            return false;
        }
        let Some(progress) = raft.prs().get(message.from) else { return false };
        progress.state != ProgressState::Snapshot
            && (message.index <= progress.matched || message.reject_hint < progress.matched)
    }

    /// Nothing that it said to have is counted on until it says so again.
    fn probe_anew(&mut self, message: &Message) {
        let raft = &self.node.raft;
        let from = message.from;
        let mut matching = message.reject_hint.min(raft.raft_log.last_index());
        if message.log_term > 0 {
            matching = raft.raft_log.find_conflict_by_term(matching, message.log_term).0;
        }
        self.node.report_unreachable(from);
        let raft = &mut self.node.raft;
        let Some(progress) = raft.mut_prs().get_mut(from) else { return };
        progress.recent_active = true;
        progress.matched = 0;
        progress.next_idx = matching + 1;
        progress.resume();
        raft.send_append(from);
    }

    pub fn propose(&mut self, datas: &[abi::Bytes]) -> Result<abi::Place, (i32, String)> {
        self.leading()?;
        if datas.is_empty() {
            return fail(INVALID, "nothing to propose");
        }
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.node.raft.id;
        for data in datas {
            if data.size > self.entry_bytes_max {
                return fail(INVALID, format!("an entry of {} bytes: more than {}", data.size, self.entry_bytes_max));
            }
            let mut entry = Entry::default();
            // SAFETY: raft.h: the caller's views are valid during the call.
            entry.data = bytes::Bytes::copy_from_slice(unsafe { data.as_slice() });
            message.mut_entries().push(entry);
        }
        self.append(message)
    }

    fn append(&mut self, message: Message) -> Result<abi::Place, (i32, String)> {
        let place = abi::Place {
            index: self.node.raft.raft_log.last_index() + 1,
            term: self.node.raft.term,
        };
        let transferring = self.node.raft.lead_transferee.is_some();
        // The whole message at once: each step is a broadcast.
        match self.node.raft.step(message) {
            Ok(()) => Ok(place),
            Err(Error::ProposalDropped) if transferring => fail(BUSY, "another node is about to lead the group"),
            Err(Error::ProposalDropped) => fail(FULL, "too much is proposed and not committed"),
            Err(error) => fail(INVALID, error.to_string()),
        }
    }

    pub fn propose_members(&mut self, changes: &[abi::MemberChange]) -> Result<abi::Place, (i32, String)> {
        self.leading()?;
        let id = self.node.raft.id;
        if changes.iter().any(|change| change.node == id) {
            return fail(REFUSED, "a leader does not change its own membership: transfer leadership first");
        }
        let joint = self.confs.last().map_or(false, |(_, conf)| !conf.get_voters_outgoing().is_empty());
        if self.node.raft.has_pending_conf() || joint {
            return fail(BUSY, "another change of the members is under way");
        }
        let mut change = ConfChangeV2::default();
        change.set_transition(ConfChangeTransition::Auto);
        for each in changes {
            let mut single = ConfChangeSingle::default();
            single.node_id = each.node;
            single.set_change_type(match each.kind {
                0 => ConfChangeType::AddNode,
                1 => ConfChangeType::RemoveNode,
                2 => ConfChangeType::AddLearnerNode,
                _ => return fail(INVALID, "no such kind of change"),
            });
            change.mut_changes().push(single);
        }
        if changes.is_empty() {
            return fail(INVALID, "nothing to change");
        }
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        let Ok(data) = change.write_to_bytes() else {
            return fail(INVALID, "the change cannot be written");
        };
        entry.data = data.into();
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = id;
        message.mut_entries().push(entry);
        self.append(message)
    }

    pub fn read_index(&mut self, context: u64) -> Outcome {
        self.usable()?;
        let raft = &self.node.raft;
        // raft-rs forgets what is asked before; it does not refuse it.
        if raft.state == StateRole::Leader && !raft.commit_to_current_term() {
            return fail(BUSY, "the leader has committed nothing in its term yet");
        }
        if raft.state != StateRole::Leader && raft.leader_id == 0 {
            return fail(BUSY, "no leader is known yet");
        }
        self.node.read_index(context.to_be_bytes().to_vec());
        Ok(())
    }

    pub fn has_ready(&self) -> bool {
        !self.removed && !self.panicked && self.installing.is_none() && self.node.has_ready() && self.can_give_out()
    }

    pub fn take_snapshot_wanted(&mut self) -> u64 {
        self.node.store().snapshot_wanted_by.replace(0)
    }

    /// Takes a Ready, has the storage and raft-rs know of it in the same call (nothing may come
    /// between), and applies what it commits to the configuration.
    pub fn ready(&mut self, out: &mut abi::Ready) -> Outcome {
        self.usable()?;
        if !self.can_give_out() {
            return fail(BUSY, "what is committed cannot be read just now");
        }
        let mut ready = self.node.ready();
        let number = ready.number();
        self.out = Out::default();
        self.out.owned_entries = ready.take_entries();
        self.out.owned_committed = ready.take_committed_entries();
        let after_persist = !ready.persisted_messages().is_empty();
        let messages = if after_persist { ready.take_persisted_messages() } else { ready.take_messages() };
        let has_snapshot = !ready.snapshot().is_empty();
        if has_snapshot {
            let snapshot = ready.snapshot().clone();
            let meta = snapshot.get_metadata();
            self.installing = Some((number, meta.index));
            self.confs = vec![(meta.index, meta.get_conf_state().clone())];
            self.node.mut_store().restart(meta.index, meta.term);
            self.given_out = meta.index;
            self.out.owned_snapshot = snapshot;
        }
        self.node.mut_store().append(&self.out.owned_entries);
        let hard_state = ready.hs().cloned();
        let must_sync = ready.must_sync();
        for state in ready.take_read_states() {
            let context = state.request_ctx.as_slice().try_into().map_or(0, u64::from_be_bytes);
            self.out.reads.push(abi::ReadState { context, index: state.index });
        }
        self.node.advance_append_async(ready);
        self.apply_committed()?;

        for message in &messages {
            let Ok(data) = message.write_to_bytes() else {
                return fail(INVALID, "a message cannot be written");
            };
            self.out.owned_messages.push(data);
        }
        for (message, data) in messages.iter().zip(&self.out.owned_messages) {
            let kind = message.get_msg_type() as u8;
            self.out.messages.push(abi::Message { to: message.to, kind, after_persist, data: abi::Bytes::of(data) });
        }
        self.out.entries = self.out.owned_entries.iter().map(entry_of).collect();
        self.out.committed = self.out.owned_committed.iter().map(entry_of).collect();
        let at = |(index, conf): &(u64, ConfState)| abi::ConfStateAt { index: *index, state: conf_of(conf) };
        self.out.confs = self.out.owned_confs.iter().map(at).collect();
        self.fill(out, number, must_sync, hard_state, has_snapshot);
        Ok(())
    }

    /// The configuration changes with the entry, when it is given out to be applied.
    fn apply_committed(&mut self) -> Outcome {
        let Some(last) = self.out.owned_committed.last().map(|entry| entry.index) else {
            return Ok(());
        };
        for entry in &self.out.owned_committed {
            let Some(change) = change_in(entry) else { continue };
            // What cannot be done is refused by all members alike.
            let Ok(conf) = self.node.apply_conf_change(&change) else { continue };
            let stays = is_member(&conf, self.node.raft.id);
            self.confs.push((entry.index, conf.clone()));
            self.out.owned_confs.push((entry.index, conf));
            if !stays {
                self.removed = true;
                return Ok(());
            }
        }
        self.given_out = last;
        self.node.advance_apply_to(last);
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader && !raft.promotable() {
            // Its own demotion came into effect under it.
            let term = raft.term;
            raft.become_follower(term, 0);
        }
        Ok(())
    }

    fn fill(&self, out: &mut abi::Ready, number: u64, must_sync: bool, hard_state: Option<HardState>, has_snapshot: bool) {
        let meta = self.out.owned_snapshot.get_metadata();
        let hard = hard_state.clone().unwrap_or_default();
        *out = abi::Ready {
            number,
            role: self.role(),
            term: self.node.raft.term,
            leader: self.node.raft.leader_id,
            must_sync,
            has_hard_state: hard_state.is_some(),
            hard_state: abi::HardState { term: hard.term, vote: hard.vote, commit: hard.commit },
            entries: self.out.entries.as_ptr(),
            entries_count: self.out.entries.len(),
            committed: self.out.committed.as_ptr(),
            committed_count: self.out.committed.len(),
            conf_states: self.out.confs.as_ptr(),
            conf_states_count: self.out.confs.len(),
            messages: self.out.messages.as_ptr(),
            messages_count: self.out.messages.len(),
            read_states: self.out.reads.as_ptr(),
            read_states_count: self.out.reads.len(),
            has_snapshot,
            snapshot: abi::Place { index: meta.index, term: meta.term },
            snapshot_conf_state: conf_of(meta.get_conf_state()),
            snapshot_data: abi::Bytes::of(&self.out.owned_snapshot.data),
            removed: self.removed,
        };
    }

    pub fn persisted(&mut self, number: u64) -> Outcome {
        if self.removed {
            return fail(REMOVED, "this node was removed from the group");
        }
        self.node.on_persist_ready(number);
        if let Some((with, index)) = self.installing {
            if number >= with {
                self.installing = None;
                self.node.advance_apply_to(index);
            }
        }
        let persisted = self.node.raft.raft_log.persisted;
        let kept = self.given_out.min(persisted);
        self.node.mut_store().evict(kept);
        Ok(())
    }

    pub fn compact(&mut self, index: u64) -> Result<abi::Place, (i32, String)> {
        self.usable()?;
        if index > self.given_out {
            return fail(INVALID, format!("entry {} is not applied: the log cannot be cut there", index));
        }
        let (begin, begin_term) = self.node.store().begin();
        if index <= begin {
            return Ok(abi::Place { index: begin, term: begin_term });
        }
        // Of the store itself: where that cannot be read just now raft-rs would panic.
        let term = match self.node.store().term(index) {
            Ok(term) => term,
            Err(error) => return fail(BUSY, error.to_string()),
        };
        self.node.mut_store().cut(index, term);
        let kept = self.confs.iter().rposition(|(at, _)| *at <= index).unwrap_or(0);
        self.confs.drain(..kept);
        Ok(abi::Place { index, term })
    }

    pub fn offer_snapshot(&mut self, index: u64, data: &[u8]) -> Outcome {
        self.usable()?;
        let conf = self.confs.iter().rev().find(|(at, _)| *at <= index);
        let (Some((_, conf)), true) = (conf, index <= self.given_out) else {
            return fail(INVALID, format!("a snapshot at {} is not of what is applied", index));
        };
        let term = match self.node.raft.raft_log.term(index) {
            Ok(term) if term > 0 => term,
            _ => return fail(INVALID, format!("the log begins behind the snapshot at {}", index)),
        };
        let mut snapshot = Snapshot::default();
        snapshot.data = bytes::Bytes::copy_from_slice(data);
        snapshot.mut_metadata().set_conf_state(conf.clone());
        snapshot.mut_metadata().index = index;
        snapshot.mut_metadata().term = term;
        let store = self.node.mut_store();
        store.snapshot = Some(snapshot);
        store.snapshot_wanted_by.set(0);
        Ok(())
    }

    pub fn report_snapshot(&mut self, to: u64, arrived: bool) -> Outcome {
        self.usable()?;
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.node.report_snapshot(to, status);
        self.node.mut_store().snapshot = None;
        Ok(())
    }

    pub fn report_unreachable(&mut self, to: u64) -> Outcome {
        self.usable()?;
        self.node.report_unreachable(to);
        Ok(())
    }

    /// With entries they learn of it only later: `skip_bcast_commit`.
    pub fn tell_committed(&mut self) -> Outcome {
        self.leading()?;
        self.node.raft.bcast_append();
        Ok(())
    }

    pub fn transfer(&mut self, to: u64) -> Outcome {
        self.leading()?;
        let conf = self.confs.last().map(|(_, conf)| conf);
        if !conf.map_or(false, |conf| conf.get_voters().contains(&to)) {
            return fail(REFUSED, "only a voter can lead the group");
        }
        self.node.transfer_leader(to);
        Ok(())
    }

    pub fn campaign(&mut self) -> Outcome {
        self.usable()?;
        if self.votes_alone() && self.unpersisted() {
            return fail(BUSY, "the log is not on the disk yet");
        }
        let end = self.node.raft.raft_log.committed + 1;
        if !self.node.store().readable(self.given_out + 1, end) {
            return fail(BUSY, "what is committed cannot be read just now");
        }
        match self.node.campaign() {
            Ok(()) => Ok(()),
            Err(error) => fail(INVALID, error.to_string()),
        }
    }

    fn role(&self) -> u8 {
        match self.node.raft.state {
            StateRole::Follower => 0,
            StateRole::PreCandidate | StateRole::Candidate => 1,
            StateRole::Leader => 2,
        }
    }

    pub fn status(&mut self, out: &mut abi::Status) {
        let raft = &self.node.raft;
        let leads = raft.state == StateRole::Leader && !self.removed;
        self.out.progress.clear();
        if leads {
            for (&node, progress) in raft.prs().iter() {
                let state = match progress.state {
                    ProgressState::Probe => 0,
                    ProgressState::Replicate => 1,
                    ProgressState::Snapshot => 2,
                };
                self.out.progress.push(abi::Progress {
                    node,
                    matched: progress.matched,
                    next: progress.next_idx,
                    state,
                    recently_active: progress.recent_active,
                });
            }
            self.out.progress.sort_by_key(|progress| progress.node);
        }
        *out = abi::Status {
            role: self.role(),
            term: raft.term,
            leader: raft.leader_id,
            commit: raft.raft_log.committed,
            applied: raft.raft_log.applied,
            last: raft.raft_log.last_index(),
            leads_current_term: leads && raft.commit_to_current_term(),
            progress: self.out.progress.as_ptr(),
            progress_count: self.out.progress.len(),
        };
    }
}
