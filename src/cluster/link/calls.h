// Calls between nodes with one request and one answer, and those under way.
#ifndef CLUSTER_LINK_CALLS_H_
#define CLUSTER_LINK_CALLS_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/async_generic_service.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace cluster {

using Answer = std::function<void(std::string)>;

// One that came. `serve` is called with the request, and answers once, on any thread; if it drops
// the answer the caller hears that nobody is there. Serves itself and goes when it is over.
grpc::ServerGenericBidiReactor* ServeCall(std::function<void(std::string request, Answer)> serve);

// Those that this node has made.
class Calls {
 public:
  using Done = std::function<void(absl::StatusOr<std::string>)>;

  ~Calls() { CancelAll(); }

  // `link`: with which it is over, see CancelLink; 0: none.
  void Call(std::shared_ptr<grpc::Channel> channel, const std::string& method, std::string request,
            absl::Duration within, Done done, uint64_t link = 0);
  // The link is lost: nobody is to wait for an answer until its deadline.
  void CancelLink(uint64_t link);
  // Returns when each has been told, and nothing is left of it.
  void CancelAll();

 private:
  struct OneCall;
  void Forget(OneCall* call);

  base::Mutex mutex_;
  base::CondVar none_left_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<OneCall*> under_way_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cluster

#endif  // CLUSTER_LINK_CALLS_H_
