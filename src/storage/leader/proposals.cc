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

CommandStamp Proposals::Stamp(const Asker* asker) {
  CommandStamp stamp{.time_unix_ms = replica_.partition().StampAt(node_.now.unix_ms),
                     .order = ++node_.last_order};
  if (asker == nullptr || asker->number() == 0) return stamp;
  stamp.origin = asker->origin();
  stamp.sequence = asker->number();
  const uint64_t hole = replica_.partition().origins().FirstHole(stamp.origin);
  if (hole != 0 && hole < asker->forgets_below()) stamp.kept_from = asker->forgets_below();
  return stamp;
}

pb::Command& Proposals::Propose(mqtt::MessagePtr message, CommandPlace* place, const Asker* asker) {
  Proposal& proposal = Grow();
  pb::Command& command = proposal.Add(std::move(message), place);
  node_.growing.bytes += proposal.TakeGrowth();
  const CommandStamp stamp = Stamp(asker);
  command.set_time_unix_ms(stamp.time_unix_ms);
  command.set_order(stamp.order);
  if (stamp.sequence == 0) return command;
  command.set_origin(stamp.origin);
  command.set_sequence(stamp.sequence);
  command.set_kept_from(stamp.kept_from);
  return command;
}

std::string& Proposals::ProposeTo(mqtt::MessagePtr message, CommandStamp& stamp,
                                  const Asker* asker) {
  stamp = Stamp(asker);
  Proposal& proposal = Grow();
  std::string& entry = proposal.AddTo(std::move(message));
  node_.growing.bytes += proposal.TakeGrowth();
  return entry;
}

void Proposals::TakeOver(Proposals& former) {
  pending_ = std::move(former.pending_);
  growing_ = std::exchange(former.growing_, nullptr);
}

size_t Proposals::steps() const {
  size_t steps = 0;
  for (const auto& proposal : pending_) steps += proposal->steps().size();
  return steps;
}

void Proposals::PopFirst() {
  std::unique_ptr<Proposal> done = std::move(pending_.front());
  pending_.pop_front();
  if (spare_.size() == kSpareProposalsMax) return;
  done->Clear();
  spare_.push_back(std::move(done));
}

}  // namespace storage
