// What one asker has asked of each partition: numbered, in order, and kept until it is done.
#ifndef STORAGE_CORE_REQUEST_STREAMS_H_
#define STORAGE_CORE_REQUEST_STREAMS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "storage/core/partition_api.h"

namespace storage {

// The partition that a request is about. None: it is about several, or about the node.
std::optional<PartitionId> PartitionOfRequest(const Request& request, uint32_t partitions);

// The sender's end of the request streams of one shard, used on its thread. The other end is
// Origins, in each partition's state. A copy of each request stays here until the partition says
// that everything up to it is applied or refused (StreamAck), and, where the answer may come later
// than that, until the answer is there.
//
// How much that is: what publishers may have unanswered is bounded (`commits_pending_max`), and
// they stand still while more than kKeptMax requests of all kinds are kept; what clients
// acknowledge is bounded by their windows, and the rest by requests_waiting and connections.
class RequestStreams {
 public:
  static constexpr size_t kKeptMax = 100'000;

  // `partitions` outlives it, and is known when the first request comes.
  explicit RequestStreams(const uint32_t& partitions) : partitions_(partitions) {}

  // It becomes the next of its partition; not numbered if it is about no single one. Cost: a copy.
  void Number(Addressed& asked);
  // The same of one that no later leader is to be asked: its place is passed over then.
  void NumberForThisLeader(Addressed& asked);

  void OnAck(const StreamAck& ack);
  // The answer to an OpenSession, Subscribe or Unsubscribe has come, or nobody waits for it any
  // more. Others are nothing to it.
  void OnAnswer(Token token);

  // Whether the partition's leader that asks is not older than the one that asked last: what comes
  // from several nodes is in no order.
  bool Heeds(const ClaimsWanted& wanted);
  // Where the leader is that asked last. None: none has asked.
  std::optional<NodeId> LeaderOf(PartitionId partition) const;
  // As it has asked: ClaimsWanted::life. 0: none has.
  uint64_t LifeOf(PartitionId partition) const;
  // Of which partition an OpenSession, Subscribe or Unsubscribe without an answer is asked.
  std::optional<PartitionId> AskedOf(Token token) const;

  // What the partition's new leader is to be asked again, in order, behind `claims`, in which it
  // says how much that is. Not what has its answer: what was refused, or was a repeat of a message
  // that was there then, may be acted upon now, and whoever was told may have gone on.
  std::vector<Addressed> Repeat(Claims& claims,
                                absl::FunctionRef<bool(const Request&)> is_answered) const;

  // How many are kept.
  size_t kept() const { return kept_; }
  // For how many there is memory: not many more.
  size_t places() const;

 private:
  struct Kept {
    Kept(const Request& the_request, uint64_t its_number, uint64_t its_place)
        : request(the_request), number(its_number), place(its_place) {}

    std::optional<Request> request;  // Nothing: it is not to be asked for again.
    uint64_t number = 0;
    uint64_t place = 0;
  };
  struct Stream {
    uint64_t first = 1;  // The first number that is not acknowledged.
    uint64_t next = 1;
    size_t begin = 0;                     // What is before it is gone.
    size_t emptied = 0;                   // From there on, without a request.
    std::vector<Kept> requests;           // By number; not of each number there is one.
    std::map<uint64_t, Kept> unanswered;  // Acknowledged, and the answer is still to come.
  };
  Stream& Next(PartitionId partition, Addressed& asked);
  static void Empty(Stream& stream, uint64_t number);
  struct Place {
    PartitionId partition = 0;
    uint64_t number = 0;
  };

  const uint32_t& partitions_;
  std::vector<Stream> streams_;  // By partition.
  struct Leader {
    uint64_t life = 0;
    std::optional<NodeId> node;
  };
  std::vector<Leader> leaders_;  // By partition: who has asked last.
  // OpenSession, Subscribe and Unsubscribe that have no answer yet.
  absl::flat_hash_map<Token, Place> waiting_;
  size_t kept_ = 0;
  uint64_t last_place_ = 0;
};

}  // namespace storage

#endif  // STORAGE_CORE_REQUEST_STREAMS_H_
