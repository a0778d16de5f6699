#include "storage/core/request_streams.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "storage/core/keys.h"

namespace storage {
namespace {

// A stream that is empty keeps room for so many.
constexpr size_t kRoomKept = 1024;
// Places without a request, before they are given up.
constexpr size_t kEmptiedMax = 64;

// Of a request whose answer may come later than the partition says that it is done; 0: of another.
Token LateAnswerOf(const Request& request) {
  if (const auto* const open = std::get_if<OpenSession>(&request)) return open->token;
  if (const auto* const subscribe = std::get_if<Subscribe>(&request)) return subscribe->token;
  if (const auto* const unsubscribe = std::get_if<Unsubscribe>(&request)) return unsubscribe->token;
  return 0;
}

}  // namespace

std::optional<PartitionId> PartitionOfRequest(const Request& request, uint32_t partitions) {
  return std::visit(
      [partitions](const auto& one) -> std::optional<PartitionId> {
        using T = std::decay_t<decltype(one)>;
        if constexpr (std::is_same_v<T, Publish>) {
          return one.partition;
        } else if constexpr (std::is_same_v<T, OutboxDone> || std::is_same_v<T, OutboxAssign>) {
          return one.partition;
        } else if constexpr (requires { one.client_id; }) {
          return PartitionOfClient(one.client_id, partitions);
        } else {
          return std::nullopt;
        }
      },
      request);
}

RequestStreams::Stream& RequestStreams::Next(PartitionId partition, Addressed& asked) {
  if (streams_.size() <= partition) streams_.resize(partitions_);
  Stream& stream = streams_[partition];
  asked.partition = partition;
  asked.sequence = stream.next++;
  asked.kept_from = stream.first;
  return stream;
}

void RequestStreams::Number(Addressed& asked) {
  const std::optional<PartitionId> to = PartitionOfRequest(asked.request, partitions_);
  asked.place = ++last_place_;
  if (!to.has_value()) return;
  Stream& stream = Next(*to, asked);
  if (const Token token = LateAnswerOf(asked.request); token != 0) {
    waiting_[token] = {*to, asked.sequence};
  }
  stream.requests.emplace_back(asked.request, asked.sequence, asked.place);
  ++kept_;
}

void RequestStreams::NumberForThisLeader(Addressed& asked) {
  const std::optional<PartitionId> to = PartitionOfRequest(asked.request, partitions_);
  asked.place = ++last_place_;
  if (to.has_value()) Next(*to, asked);
}

void RequestStreams::OnAck(const StreamAck& ack) {
  Stream& stream = streams_[ack.partition];
  if (ack.through < stream.first) return;
  stream.first = std::min(ack.through + 1, stream.next);
  while (stream.begin < stream.requests.size() &&
         stream.requests[stream.begin].number < stream.first) {
    Kept& done = stream.requests[stream.begin];
    const Token token = done.request.has_value() ? LateAnswerOf(*done.request) : 0;
    if (!done.request.has_value()) {
      --stream.emptied;
    } else if (token != 0 && waiting_.contains(token)) {
      stream.unanswered.emplace(done.number, std::move(done));
    } else {
      --kept_;
    }
    done.request.reset();
    ++stream.begin;
  }
  if (stream.begin == stream.requests.size()) {
    stream.requests.clear();
    if (stream.requests.capacity() > kRoomKept) stream.requests = {};
    stream.begin = 0;
  } else if (stream.begin > 3 * (stream.requests.size() - stream.begin)) {  // Few are moved.
    stream.requests.erase(stream.requests.begin(),
                          stream.requests.begin() + static_cast<std::ptrdiff_t>(stream.begin));
    stream.begin = 0;
  }
}

void RequestStreams::OnAnswer(Token token) {
  const auto found = waiting_.find(token);
  if (found == waiting_.end()) return;
  const Place place = found->second;
  waiting_.erase(found);
  Stream& stream = streams_[place.partition];
  --kept_;
  if (place.number < stream.first) {
    stream.unanswered.erase(place.number);
  } else {
    Empty(stream, place.number);
  }
}

// Where nobody acknowledges anything, as of a partition without a leader, they would pile up.
void RequestStreams::Empty(Stream& stream, uint64_t number) {
  const auto begin = stream.requests.begin() + static_cast<std::ptrdiff_t>(stream.begin);
  const auto found =
      std::lower_bound(begin, stream.requests.end(), number,
                       [](const Kept& kept, uint64_t wanted) { return kept.number < wanted; });
  found->request.reset();
  if (++stream.emptied < kEmptiedMax || stream.emptied * 2 < stream.requests.size()) return;
  std::erase_if(stream.requests, [](const Kept& kept) { return !kept.request.has_value(); });
  stream.begin = stream.emptied = 0;
}

size_t RequestStreams::places() const {
  size_t places = 0;
  for (const Stream& stream : streams_)
    places += stream.requests.size() - stream.begin + stream.unanswered.size();
  return places;
}

bool RequestStreams::Heeds(const ClaimsWanted& wanted) {
  if (leaders_.size() <= wanted.partition) leaders_.resize(wanted.partition + size_t{1});
  Leader& last = leaders_[wanted.partition];
  if (wanted.life < last.life) return false;
  last = {.life = wanted.life, .node = wanted.by};
  return true;
}

std::optional<NodeId> RequestStreams::LeaderOf(PartitionId partition) const {
  return partition < leaders_.size() ? leaders_[partition].node : std::nullopt;
}

uint64_t RequestStreams::LifeOf(PartitionId partition) const {
  return partition < leaders_.size() ? leaders_[partition].life : 0;
}

std::optional<PartitionId> RequestStreams::AskedOf(Token token) const {
  const auto found = waiting_.find(token);
  return found == waiting_.end() ? std::nullopt : std::optional(found->second.partition);
}

std::vector<Addressed> RequestStreams::Repeat(
    Claims& claims, absl::FunctionRef<bool(const Request&)> is_answered) const {
  std::vector<Addressed> repeats;
  if (claims.partition >= streams_.size()) return repeats;
  const Stream& stream = streams_[claims.partition];
  const auto add = [&](uint64_t number, const Kept& kept) {
    Addressed& asked = repeats.emplace_back(*kept.request);
    asked.partition = claims.partition;
    asked.sequence = number;
    asked.kept_from = stream.first;
    asked.place = kept.place;
  };
  for (const auto& [number, kept] : stream.unanswered) add(number, kept);
  for (size_t i = stream.begin; i < stream.requests.size(); ++i) {
    const Kept& kept = stream.requests[i];
    if (kept.request.has_value() && !is_answered(*kept.request)) add(kept.number, kept);
  }
  claims.kept_from = stream.first;
  claims.repeats = repeats.size();
  return repeats;
}

}  // namespace storage
