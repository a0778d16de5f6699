// QoS 2 messages of publishers with a session here: accepted with their Packet Identifiers, which
// are remembered until PUBREL; and the answer to one partition's part of a PUBLISH, whatever its
// QoS.
#ifndef STORAGE_LEADER_INBOUND_H_
#define STORAGE_LEADER_INBOUND_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "storage/core/partition_api.h"
#include "storage/leader/part.h"

namespace storage {

class Inbound : public LeaderPart {
 public:
  explicit Inbound(Leader& leader) : LeaderPart(leader) {}

  void Handle(const Asker& from, AcceptInbound& request);
  void Repeat(const Asker& from, AcceptInbound& request);
  void Finish(AnswerAccept& step);
  void Refuse(AnswerAccept& step, const absl::Status& why);

  // A part of a record of some outbox is proposed.
  void Arrives(const OutboxRef& record) { arriving_.insert({record.partition, record.number}); }
  // True: it was proposed already, and is answered when that is applied. (Whoever passes it on was
  // told that it is refused, and did not know of another copy on its way.)
  bool IsArriving(const Asker& from, Token token);
  // It is asked for a part of a record, and there is nothing to do here.
  void NothingOf(const OutboxRef& record) { nothing_of_[record.partition] = record.number; }
  // Whether the part may be proposed: not before what was passed on before it.
  bool HasWhatIsBefore(const Publish& part) const;
  void Finish(AnswerPublish& step);
  void Refuse(AnswerPublish& step, const absl::Status& why);

  void Handle(const Asker& from, ReleaseInbound& request);
  void Repeat(const Asker& from, ReleaseInbound& request);
  void Finish(AnswerRelease& step);
  void Refuse(AnswerRelease& step, const absl::Status& why);

 private:
  // True: the identifier is known, and what it came with. It is answered, or will be.
  bool AnswerRepeat(AnswerAccept& answer);
  void Propose(const Asker& from, const AcceptInbound& request, AnswerAccept answer);
  void Settled(const AnswerAccept& step);
  void Arrived(const OutboxRef& record) { arriving_.erase({record.partition, record.number}); }

  // Not applied yet, with the proposal in which they are remembered.
  absl::flat_hash_map<std::pair<std::string, uint16_t>, Proposal*> pending_;
  absl::flat_hash_set<std::pair<PartitionId, uint64_t>> arriving_;
  absl::flat_hash_map<PartitionId, uint64_t> nothing_of_;  // Of each outbox the last one.
};

}  // namespace storage

#endif  // STORAGE_LEADER_INBOUND_H_
