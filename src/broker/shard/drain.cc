#include "broker/shard/drain.h"

#include <algorithm>

namespace broker {
namespace {

CloseOrder Goodbye(const DrainOptions& options) {
  CloseOrder order{.cause = CloseCause::kShutdown,
                   .say = mqtt::ReasonCode::kServerShuttingDown,
                   .session = storage::CloseCause::kServerShutdown};
  if (options.server_reference.empty()) return order;
  order.server_reference = options.server_reference;
  order.say = options.move == DrainOptions::Move::kForGood ? mqtt::ReasonCode::kServerMoved
                                                           : mqtt::ReasonCode::kUseAnotherServer;
  return order;
}

}  // namespace

void Drain::Begin(uint32_t ticks) {
  if (begun_) return;
  begun_ = true;
  began_tick_ = shard_.now_tick;
  ticks_ = std::max<uint32_t>(ticks, 1);
  left_.reserve(shard_.connections.size());
  for (const auto& [number, connection] : shard_.connections) left_.push_back(number);
  total_ = left_.size();
  GoOn();
}

void Drain::GoOn() {
  if (left_.empty()) return;
  told_tick_ = shard_.now_tick;
  const uint64_t passed = std::min(told_tick_ - began_tick_ + 1, ticks_);
  const uint64_t due = (total_ * passed + ticks_ - 1) / ticks_;
  while (!left_.empty() && total_ - left_.size() < due) TellNext();
  shard_.metrics.drain_left.Set(static_cast<int64_t>(left_.size()));
}

void Drain::TellAll() {
  while (!left_.empty()) TellNext();
  shard_.metrics.drain_left.Set(0);
}

void Drain::TellNext() {
  Connection* const connection = shard_.Find(left_.back());
  left_.pop_back();
  if (connection != nullptr) shard_.Close(*connection, Goodbye(shard_.options.drain));
}

}  // namespace broker
