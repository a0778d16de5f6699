// Calls of the admin API under way, whatever protocol they came by: who calls, and how many at a
// time.
#ifndef ADMIN_API_CALLS_H_
#define ADMIN_API_CALLS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "admin/admin_calls.h"
#include "admin/api/access.h"
#include "admin/api/method.h"
#include "base/clock.h"
#include "base/mutex.h"

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
  // Of one method, whose callers have gone or have been told that no answer came in time: so many
  // may still be waited for. Then it is refused, until one of them is answered.
  uint32_t left_behind_max = 8;
  // Of a request until it has come, then of its answer until that has been taken.
  absl::Duration patience = kCallPatience;
};

enum class Protocol : uint8_t { kGrpc, kHttp };

class Call;

// Any thread. Outlives every call.
class Calls {
 public:
  // `access` and `clock` outlive it. `silent`: which part of the broker does not answer, in words;
  // empty: none.
  Calls(const Access& access, const base::Clock& clock, CallLimits limits,
        std::function<std::string()> silent)
      : access_(access), clock_(clock), limits_(limits), silent_(std::move(silent)) {}
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
  // Errors, which are audited: kUnauthenticated, kPermissionDenied, kResourceExhausted.
  absl::StatusOr<std::shared_ptr<Call>> Admit(const Method& method, const Evidence& evidence,
                                              Protocol protocol);
  // What a caller is told whose answer did not come in time.
  absl::Status TooLate() const;

  AdminCalls view() const;
  const CallLimits& limits() const { return limits_; }

 private:
  absl::StatusOr<Caller> Identify(const Method& method, const Evidence& evidence);
  absl::StatusOr<Permit> Take(const Method& method);
  std::atomic<uint32_t>& LeftBehind(const Method& method) ABSL_LOCKS_EXCLUDED(mutex_);

  const Access& access_;
  const base::Clock& clock_;
  const CallLimits limits_;
  const std::function<std::string()> silent_;
  std::atomic<uint32_t> calls_{0};
  std::atomic<uint32_t> streams_{0};
  std::atomic<uint32_t> open_calls_{0};
  std::atomic<uint32_t> open_streams_{0};
  std::atomic<uint64_t> by_protocol_[2] = {};
  std::atomic<uint64_t> strangers_{0};
  std::atomic<uint64_t> denied_{0};
  std::atomic<uint64_t> too_many_{0};
  mutable base::Mutex mutex_;
  std::map<const Method*, std::atomic<uint32_t>> left_behind_ ABSL_GUARDED_BY(mutex_);
};

// A call that was admitted. It has a place until its caller has the answer, or has gone; and if the
// answer has not come by then, it is left behind until it has.
class Call {
 public:
  Call(const Method& called, Caller who, Calls::Permit permit, std::atomic<uint32_t>& left_behind)
      : method(called),
        caller(std::move(who)),
        left_behind_(left_behind),
        permit_(std::move(permit)) {}

  // Nobody waits for it any more.
  void Leave() const ABSL_LOCKS_EXCLUDED(mutex_);

  const Method& method;
  const Caller caller;
  std::unique_ptr<google::protobuf::Message> request;

 private:
  friend void Run(std::shared_ptr<const Call> call, Method::MessageReply reply);
  void Begin() const ABSL_LOCKS_EXCLUDED(mutex_);
  void Answered() const ABSL_LOCKS_EXCLUDED(mutex_);

  std::atomic<uint32_t>& left_behind_;
  mutable base::Mutex mutex_;
  mutable bool running_ ABSL_GUARDED_BY(mutex_) = false;  // Not answered.
  mutable bool left_ ABSL_GUARDED_BY(mutex_) = false;
  // The place; then that among those left behind.
  mutable Calls::Permit permit_ ABSL_GUARDED_BY(mutex_);
};

// Has a call with one answer answered. What changes something is audited with it, whether or not
// anybody waits for the answer still.
void Run(std::shared_ptr<const Call> call, Method::MessageReply reply);
// The same for a stream.
void Run(std::shared_ptr<const Call> call, std::shared_ptr<Outlet> outlet);

}  // namespace admin

#endif  // ADMIN_API_CALLS_H_
