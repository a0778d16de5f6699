#include "cluster/traffic/outlet.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "cluster/core/traffic_codec.h"

namespace cluster {

void Outlet::Open() {
  Close();
  open_ = true;
}

void Outlet::Close() {
  open_ = false;
  epoch_.fetch_add(1, std::memory_order_acq_rel);
  waiting_.clear();
  waiting_at_ = 0;
  part_at_ = 0;
}

Outlet::Result Outlet::SendWhole(std::string_view item, bool more) {
  switch (links_.Send(node_, LinkClass::kTraffic, item, more)) {
    case LinkSend::kQueued:
      return Result::kSent;
    case LinkSend::kFull:
      return Result::kFull;
    case LinkSend::kTooLarge:
      base::LogLimited(base::LogLevel::kError, "links take no items of this size", "too large",
                       {{"node", node_.value()}, {"bytes", item.size()}});
      return Result::kDown;
    case LinkSend::kDropped:
    case LinkSend::kDown:
      break;
  }
  return Result::kDown;
}

Outlet::Result Outlet::Send(std::string_view item, bool more) {
  if (item.size() <= kPartBytes) return SendWhole(item, more);
  while (part_at_ < item.size()) {
    const std::string_view part = item.substr(part_at_, kPartBytes);
    part_.clear();
    AppendPart({.last = part_at_ + part.size() == item.size(), .bytes = part}, part_);
    const Result result = SendWhole(part_, /*more=*/false);
    if (result != Result::kSent) return result;
    part_at_ += part.size();
  }
  part_at_ = 0;
  part_ = {};
  return Result::kSent;
}

void Outlet::Wait(ItemBatch batch) {
  if (!batch.empty()) waiting_.push_back(std::move(batch));
}

Outlet::Result Outlet::SendWaiting() {
  const ItemBatch& batch = waiting_.front();
  const Result result = Send(batch[waiting_at_], /*more=*/waiting_at_ + 1 < batch.size());
  if (result == Result::kSent && ++waiting_at_ == batch.size()) {
    waiting_.pop_front();
    waiting_at_ = 0;
  }
  return result;
}

}  // namespace cluster
