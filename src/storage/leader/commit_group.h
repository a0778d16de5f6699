// What is written to the log in one go, and what follows once it is there.
#ifndef STORAGE_LEADER_COMMIT_GROUP_H_
#define STORAGE_LEADER_COMMIT_GROUP_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "mqtt/message.h"
#include "storage/core/partition_api.h"
#include "storage/leader/queue_room.h"
#include "storage/leader/retained_pending.h"

namespace mqttd::storage::v1 {
class Command;
}  // namespace mqttd::storage::v1

namespace storage {

namespace pb = ::mqttd::storage::v1;

// Where a command stands in a group.
struct CommandPlace {
  PartitionId partition = 0;
  int command = 0;
};

// Answers and continuations, one for each request, in the order of the requests.
struct AnswerPublish {
  ShardId shard = 0;
  Token token = 0;
  bool duplicate = false;
  absl::Status status;  // Decided before the commit.
  std::optional<CommandPlace> retained;
  std::optional<Qos2Origin> origin;  // Of one that was proposed.
  OrphanRef orphan;                  // Forgotten with the commit.
};
struct FinishOpen {
  CommandPlace open;
  std::string client_id;
  std::string user_name;
  std::string former_user;  // Of the session that was there.
  bool counted = false;     // As a new one of the user's: it would make one.
  bool adds = false;        // There was none.
};
struct FinishClose {
  CommandPlace close;
  std::string client_id;
};
// The will fires, or the session ends, or both.
struct FinishTimer {
  std::string client_id;
  bool ends = false;
  bool gives_way = false;  // It ends to make room.
};
struct AnnounceWill {
  CommandPlace fire;
  mqtt::MessagePtr message;
};
struct AnswerSubscribe {
  CommandPlace subscribe;
  ShardId shard = 0;
  Token token = 0;
  std::string client_id;
  absl::Status status;  // Decided before the commit; then there is no command.
};
struct AnswerUnsubscribe {
  CommandPlace unsubscribe;
  ShardId shard = 0;
  Token token = 0;
  absl::Status status;  // Likewise.
};
struct AnswerRelease {
  std::optional<CommandPlace> release;
  ShardId shard = 0;
  Token token = 0;
  absl::Status status;
};
struct FinishReplay {
  CommandPlace page;
  std::string client_id;
};
// A shared message without an owner is in another member's queue, or is nobody's any more.
struct FinishOrphan {
  OrphanRef orphan;
  bool dropped = false;  // For nobody is a member.
  bool expired = false;
};
// A will that a clean start left over is published.
struct FinishWill {
  mqtt::MessagePtr message;
};
struct FinishStart {};
// Retained messages that had expired are dropped.
struct FinishRetainedSweep {
  PartitionId partition = 0;
  uint64_t messages = 0;
  uint64_t bytes = 0;
};
// Queued ones are.
struct FinishQueueSweep {
  CommandPlace drop;
  std::string client_id;
};
// Every shard had the routes of a subscription: what is retained and did not come live is applied.
struct StartReplays {
  std::string client_id;
  uint64_t epoch = 0;
};
// A look at the retained messages, which must see what was asked for before it.
struct RunScan {
  ShardId shard = 0;
  ScanRetained request;
  uint32_t passed = 0;  // As RetainedPage tells.
};

using Step =
    std::variant<AnswerPublish, FinishOpen, FinishClose, FinishTimer, AnnounceWill, AnswerSubscribe,
                 AnswerUnsubscribe, AnswerRelease, FinishReplay, FinishOrphan, FinishWill,
                 FinishStart, FinishRetainedSweep, FinishQueueSweep, StartReplays, RunScan>;

// At most one entry per partition. Everything in a group is committed together. Once it was handed
// to the log it stays as it is, and is written again until it is there.
class CommitGroup {
 public:
  struct Part {
    std::string entry;                       // The bytes of an Entry, once the group is sealed.
    std::vector<mqtt::MessagePtr> messages;  // Beside each command: its Message, or null.
    uint64_t index = 0;                      // In the log.
  };

  explicit CommitGroup(uint32_t partitions);
  ~CommitGroup();

  // Appends an empty command. The reference holds until the next Add, AddTo or Seal.
  pb::Command& Add(PartitionId partition, mqtt::MessagePtr message, CommandPlace* place = nullptr);
  // The same for who writes the command by hand: it goes to the end of the entry (command_codec.h).
  std::string& AddTo(PartitionId partition, mqtt::MessagePtr message,
                     CommandPlace* place = nullptr);
  // Nothing more is added: the entries are whole, and stay where they are until Clear.
  void Seal();
  void Then(Step step) { steps_.push_back(std::move(step)); }
  void Retains(RetainedSet set) { retained_sets_.push_back(std::move(set)); }
  void Reserves(const QueueReservation& reservation) { reservations_.push_back(reservation); }

  // Somebody is answered only once it is on the disk.
  void NeedSync() { needs_sync_ = true; }
  bool needs_sync() const { return needs_sync_; }
  // It must not wait for company.
  void Hurry() { urgent_ = true; }
  bool urgent() const { return urgent_ || needs_sync_; }

  bool has_commands() const { return !used_.empty(); }
  bool empty() const { return used_.empty() && steps_.empty(); }
  Part& part(PartitionId partition) { return parts_[partition]; }
  const std::vector<PartitionId>& used() const { return used_; }
  std::vector<Step>& steps() { return steps_; }
  const std::vector<RetainedSet>& retained_sets() const { return retained_sets_; }
  const std::vector<QueueReservation>& reservations() const { return reservations_; }
  size_t command_count() const { return command_count_; }
  // Of what is written: what a message carries beside itself may be more, its targets for instance.
  size_t bytes() const {
    size_t bytes = 0;
    for (const PartitionId partition : used_) bytes += parts_[partition].entry.size();
    return std::max(bytes, message_bytes_);  // The last command may not be among them yet.
  }

  void Clear();

 private:
  std::vector<Part> parts_;
  std::unique_ptr<pb::Command> open_;  // What Add gave out last, if it is open_in_'s.
  std::optional<PartitionId> open_in_;
  std::vector<PartitionId> used_;
  std::vector<Step> steps_;
  std::vector<RetainedSet> retained_sets_;
  std::vector<QueueReservation> reservations_;
  size_t command_count_ = 0;
  size_t message_bytes_ = 0;  // Of the commands' Messages, each as often as it is written.
  bool needs_sync_ = false;
  bool urgent_ = false;
};

}  // namespace storage

#endif  // STORAGE_LEADER_COMMIT_GROUP_H_
