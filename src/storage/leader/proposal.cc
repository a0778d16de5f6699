#include "storage/leader/proposal.h"

#include <utility>

#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/command_codec.h"

namespace storage {
namespace {

// Of an entry's bytes, from one use to the next.
constexpr size_t kEntryBytesKept = 256 << 10;

// Those that belong to a command that goes move to `taken`; the others follow theirs.
template <typename T>
void Sift(std::vector<Proposal::OfCommand<T>>& all, const std::vector<bool>& gone,
          const std::vector<CommandPlace>& places, std::vector<T>& taken) {
  std::vector<Proposal::OfCommand<T>> kept;
  for (Proposal::OfCommand<T>& one : all) {
    if (gone[one.command]) {
      taken.push_back(std::move(one.value));
    } else {
      kept.push_back({places[one.command], std::move(one.value)});
    }
  }
  all = std::move(kept);
}

}  // namespace

Proposal::Proposal(PartitionId the_partition)
    : partition(the_partition), open_(std::make_unique<pb::Command>()) {}
Proposal::~Proposal() = default;

std::string& Proposal::AddTo(mqtt::MessagePtr message, CommandPlace* place) {
  Seal();
  if (place != nullptr) *place = messages_.size();
  if (message) message_bytes_ += message->bytes();
  begins_.push_back(entry_.size());
  messages_.push_back(std::move(message));
  return entry_;
}

pb::Command& Proposal::Add(mqtt::MessagePtr message, CommandPlace* place) {
  AddTo(std::move(message), place);
  is_open_ = true;
  open_->Clear();
  return *open_;
}

void Proposal::Seal() {
  if (!std::exchange(is_open_, false)) return;
  AppendCommand(*open_, entry_);
}

Proposal::Dropped Proposal::Drop(const std::vector<bool>& gone) {
  Seal();
  Dropped dropped;
  std::string entry;
  std::vector<size_t> begins;
  std::vector<mqtt::MessagePtr> messages;
  message_bytes_ = 0;
  for (CommandPlace i = 0; i < messages_.size(); ++i) {
    dropped.places.push_back(messages.size());
    if (gone[i]) continue;
    const size_t end = i + 1 < begins_.size() ? begins_[i + 1] : entry_.size();
    begins.push_back(entry.size());
    entry.append(entry_, begins_[i], end - begins_[i]);
    if (messages_[i]) message_bytes_ += messages_[i]->bytes();
    messages.push_back(std::move(messages_[i]));
  }
  entry_ = std::move(entry);
  begins_ = std::move(begins);
  messages_ = std::move(messages);
  Sift(retained_sets_, gone, dropped.places, dropped.sets);
  Sift(reservations_, gone, dropped.places, dropped.reservations);
  return dropped;
}

void Proposal::Clear() {
  entry_.clear();
  if (entry_.capacity() > kEntryBytesKept) entry_ = std::string();
  begins_.clear();
  messages_.clear();
  is_open_ = false;
  message_bytes_ = 0;
  counted_ = 0;
  steps_.clear();
  retained_sets_.clear();
  reservations_.clear();
  taken.clear();
  number = 0;
  passes = false;
}

}  // namespace storage
