#include "storage/commit_group.h"

#include <utility>

#include "mqttd/storage/v1/command.pb.h"

namespace storage {

CommitGroup::Part::Part() : entry(std::make_unique<pb::Entry>()) {}
CommitGroup::Part::Part(Part&&) noexcept = default;
CommitGroup::Part::~Part() = default;

CommitGroup::CommitGroup(uint32_t partitions) : parts_(partitions) {}
CommitGroup::~CommitGroup() = default;

pb::Command& CommitGroup::Add(PartitionId partition, mqtt::MessagePtr message,
                              CommandPlace* place) {
  Part& part = parts_[partition];
  if (part.entry->commands_size() == 0) used_.push_back(partition);
  if (place != nullptr) *place = {partition, part.entry->commands_size()};
  part.messages.push_back(std::move(message));
  ++command_count_;
  return *part.entry->add_commands();
}

CommandPlace CommitGroup::Take(Part& from, PartitionId partition, int command) {
  CommandPlace place;
  Add(partition, std::move(from.messages[static_cast<size_t>(command)]), &place)
      .Swap(from.entry->mutable_commands(command));
  return place;
}

void CommitGroup::Clear() {
  for (const PartitionId partition : used_) {
    parts_[partition].entry->Clear();
    parts_[partition].messages.clear();
    parts_[partition].index = 0;
  }
  used_.clear();
  steps_.clear();
  retained_sets_.clear();
  command_count_ = 0;
  has_news_ = false;
  needs_sync_ = false;
  urgent_ = false;
}

}  // namespace storage
