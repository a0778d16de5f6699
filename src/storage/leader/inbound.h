// QoS 2 messages of publishers with a session here: accepted with their Packet Identifiers, which
// are remembered until PUBREL.
#ifndef STORAGE_LEADER_INBOUND_H_
#define STORAGE_LEADER_INBOUND_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
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

  void Handle(const Asker& from, ReleaseInbound& request);
  void Repeat(const Asker& from, ReleaseInbound& request);
  void Finish(AnswerRelease& step);
  void Refuse(AnswerRelease& step, const absl::Status& why);

 private:
  // True: the identifier is known, and what it came with. It is answered, or will be.
  bool AnswerRepeat(AnswerAccept& answer);
  void Propose(const Asker& from, const AcceptInbound& request, AnswerAccept answer);
  void Settled(const AnswerAccept& step);

  // Not applied yet, with the proposal in which they are remembered.
  absl::flat_hash_map<std::pair<std::string, uint16_t>, Proposal*> pending_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_INBOUND_H_
