// Calls of the admin API under way, whatever protocol they came by: who calls, and how many at a
// time.
#ifndef ADMIN_API_CALLS_H_
#define ADMIN_API_CALLS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "admin/admin_calls.h"
#include "admin/api/access.h"
#include "admin/api/method.h"
#include "base/clock.h"

namespace admin {

// What a part of the broker may take for its part of an answer. A broker in trouble is when answers
// are wanted, and none of its parts may keep a caller for longer.
inline constexpr absl::Duration kCallPatience = absl::Seconds(30);

struct CallLimits {
  uint32_t calls_max = 64;  // With one answer.
  uint32_t streams_max = 32;
  // Of each kind, of the methods that anybody may call: who shows nothing takes no place from who
  // may act.
  uint32_t open_max = 16;
  // Of a request until it has come, then of its answer until that has been taken.
  absl::Duration patience = kCallPatience;
};

enum class Protocol : uint8_t { kGrpc, kHttp };

// Any thread. Outlives every call.
class Calls {
 public:
  // `access` and `clock` outlive it.
  Calls(const Access& access, const base::Clock& clock, CallLimits limits)
      : access_(access), clock_(clock), limits_(limits) {}
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  // A place among the calls under way: it is free again when this goes.
  class Permit {
   public:
    Permit() = default;
    explicit Permit(std::atomic<uint32_t>& taken) : taken_(&taken) {}
    Permit(Permit&& from) noexcept : taken_(std::exchange(from.taken_, nullptr)) {}
    Permit& operator=(Permit&& from) noexcept {
      std::swap(taken_, from.taken_);
      return *this;
    }
    ~Permit() {
      if (taken_ != nullptr) taken_->fetch_sub(1, std::memory_order_relaxed);
    }

   private:
    std::atomic<uint32_t>* taken_ = nullptr;
  };
  struct Admitted {
    Caller caller;
    Permit permit;
  };

  // Errors, which are audited: kUnauthenticated, kPermissionDenied, kResourceExhausted.
  absl::StatusOr<Admitted> Admit(const Method& method, const Evidence& evidence, Protocol protocol);

  AdminCalls view() const;
  const CallLimits& limits() const { return limits_; }

 private:
  absl::StatusOr<Caller> Identify(const Method& method, const Evidence& evidence);
  absl::StatusOr<Permit> Take(const Method& method);

  const Access& access_;
  const base::Clock& clock_;
  const CallLimits limits_;
  std::atomic<uint32_t> calls_{0};
  std::atomic<uint32_t> streams_{0};
  std::atomic<uint32_t> open_calls_{0};
  std::atomic<uint32_t> open_streams_{0};
  std::atomic<uint64_t> by_protocol_[2] = {};
  std::atomic<uint64_t> strangers_{0};
  std::atomic<uint64_t> denied_{0};
  std::atomic<uint64_t> too_many_{0};
};

// A call that was admitted, as long as anybody is busy with it.
struct Call {
  const Method* method = nullptr;
  Caller caller;
  Calls::Permit permit;
  std::unique_ptr<google::protobuf::Message> request;
};

// Has a call with one answer answered. What changes something is audited with it, whether or not
// anybody waits for the answer still.
void Run(std::shared_ptr<const Call> call, Method::MessageReply reply);
// The same for a stream.
void Run(std::shared_ptr<const Call> call, std::shared_ptr<Outlet> outlet);

}  // namespace admin

#endif  // ADMIN_API_CALLS_H_
