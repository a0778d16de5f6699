#include "storage/leader/proposals.h"

#include "mqttd/storage/v1/command.pb.h"

namespace storage {
namespace {

// They keep some of their room.
constexpr size_t kSpareProposalsMax = 4;

}  // namespace

Proposal& Proposals::Grow() {
  if (growing_ == nullptr) {
    if (spare_.empty()) {
      pending_.push_back(std::make_unique<Proposal>(replica_.id()));
    } else {
      pending_.push_back(std::move(spare_.back()));
      spare_.pop_back();
    }
    growing_ = pending_.back().get();
    if (node_.growing.used.empty()) node_.growing.since = node_.now.monotonic;
    node_.growing.used.push_back(replica_.id());
  }
  ++node_.growing.commands;
  return *growing_;
}

pb::Command& Proposals::Propose(mqtt::MessagePtr message, CommandPlace* place) {
  Proposal& proposal = Grow();
  pb::Command& command = proposal.Add(std::move(message), place);
  node_.growing.bytes += proposal.TakeGrowth();
  command.set_time_unix_ms(Stamp());
  command.set_order(++node_.last_order);
  return command;
}

std::string& Proposals::ProposeTo(mqtt::MessagePtr message, CommandStamp& stamp,
                                  CommandPlace* place) {
  stamp = {.time_unix_ms = Stamp(), .order = ++node_.last_order};
  Proposal& proposal = Grow();
  std::string& entry = proposal.AddTo(std::move(message), place);
  node_.growing.bytes += proposal.TakeGrowth();
  return entry;
}

size_t Proposals::steps() const {
  size_t steps = 0;
  for (const auto& proposal : pending_) steps += proposal->steps().size();
  return steps;
}

Proposal* Proposals::NextCommitted() {
  if (pending_.empty() || !pending_.front()->committed) return nullptr;
  return pending_.front().get();
}

void Proposals::PopFirst() {
  std::unique_ptr<Proposal> done = std::move(pending_.front());
  pending_.pop_front();
  if (spare_.size() == kSpareProposalsMax) return;
  done->Clear();
  spare_.push_back(std::move(done));
}

}  // namespace storage
