// A stream from another node, for one class of what it has to say.
#ifndef CLUSTER_LINK_IN_STREAM_H_
#define CLUSTER_LINK_IN_STREAM_H_

#include <grpcpp/generic/async_generic_service.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "cluster/core/link_credit.h"
#include "cluster/core/node_life.h"
#include "cluster/link/frame.h"
#include "cluster/link/metrics.h"
#include "cluster/link/options.h"
#include "cluster/link/received_frame.h"

namespace mqttd::cluster::v1 {
class Hello;
}  // namespace mqttd::cluster::v1

namespace cluster {

// Opened by the peer, closed once by either. Any thread may call it; gRPC's threads do.
class InStream final : public grpc::ServerGenericBidiReactor,
                       public FrameSource,
                       public std::enable_shared_from_this<InStream> {
 public:
  struct Admitted {
    std::string why_not;  // In words; empty: it is welcome.
    Incarnation ended;    // EndedThrough.
    NodeLife from;
    uint64_t link = 0;
    std::string welcome;                  // A FromPeer.
    LinkClassMetrics* metrics = nullptr;  // Outlives the stream.
  };
  // Called on gRPC's threads, without a lock.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual Admitted Admit(const ::mqttd::cluster::v1::Hello& hello, LinkClass link_class,
                           const std::shared_ptr<InStream>& stream) = 0;
    virtual void OnFrame(ReceivedFrame frame) = 0;
    virtual void OnEnd(LinkClass link_class, const std::shared_ptr<InStream>& stream) = 0;
  };

  // Serves itself, until it is over. `owner` outlives it. `caller`: from where, as gRPC says it.
  static InStream* Start(LinkClass link_class, const LinkOptions& options, std::string caller,
                         Owner& owner);

  void Took(LinkCredit::Amount amount) override;
  // As the words of an error.
  void Close(const std::string& why);
  NodeLife from() const { return admitted_.from; }
  const std::string& caller() const { return caller_; }

 private:
  InStream(LinkClass link_class, const LinkOptions& options, std::string caller, Owner& owner);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override { Close("the caller has gone"); }
  void OnDone() override;

  void OnHello(std::string_view bytes);
  bool OnFrame(std::string bytes);
  void Write(BackFrame back) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const LinkClass class_;
  const std::string caller_;
  Owner& owner_;
  Admitted admitted_;  // Written once, before anything else may look.
  grpc::ByteBuffer in_;
  grpc::ByteBuffer out_;
  std::shared_ptr<InStream> self_;  // Until OnDone.
  bool welcome_ = false;            // Of the reading side alone.

  base::Mutex mutex_;
  LinkCredit credit_ ABSL_GUARDED_BY(mutex_);
  BackFrame next_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace cluster

#endif  // CLUSTER_LINK_IN_STREAM_H_
