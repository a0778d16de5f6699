#include "storage/leader/commit_group.h"

#include <utility>

#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/command_codec.h"

namespace storage {
namespace {

// Of an entry's bytes, from group to group.
constexpr size_t kEntryBytesKept = 256 << 10;

}  // namespace

CommitGroup::CommitGroup(uint32_t partitions)
    : parts_(partitions), open_(std::make_unique<pb::Command>()) {}
CommitGroup::~CommitGroup() = default;

std::string& CommitGroup::AddTo(PartitionId partition, mqtt::MessagePtr message,
                                CommandPlace* place) {
  Seal();
  Part& part = parts_[partition];
  if (part.messages.empty()) used_.push_back(partition);
  if (place != nullptr) *place = {partition, static_cast<int>(part.messages.size())};
  if (message) message_bytes_ += message->bytes();
  part.messages.push_back(std::move(message));
  ++command_count_;
  return part.entry;
}

pb::Command& CommitGroup::Add(PartitionId partition, mqtt::MessagePtr message,
                              CommandPlace* place) {
  AddTo(partition, std::move(message), place);
  open_in_ = partition;
  open_->Clear();
  return *open_;
}

void CommitGroup::Seal() {
  if (!open_in_.has_value()) return;
  AppendCommand(*open_, parts_[*open_in_].entry);
  open_in_.reset();
}

void CommitGroup::Clear() {
  for (const PartitionId partition : used_) {
    Part& part = parts_[partition];
    part.entry.clear();
    if (part.entry.capacity() > kEntryBytesKept) part.entry = std::string();
    part.messages.clear();
    part.index = 0;
  }
  open_in_.reset();
  used_.clear();
  steps_.clear();
  retained_sets_.clear();
  reservations_.clear();
  command_count_ = 0;
  message_bytes_ = 0;
  needs_sync_ = false;
  urgent_ = false;
}

}  // namespace storage
