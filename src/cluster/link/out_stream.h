// A stream to another node, for one class of what there is to say.
#ifndef CLUSTER_LINK_OUT_STREAM_H_
#define CLUSTER_LINK_OUT_STREAM_H_

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "cluster/core/link_credit.h"
#include "cluster/core/node_life.h"
#include "cluster/link/links.h"
#include "cluster/link/metrics.h"
#include "cluster/link/options.h"

namespace cluster {

// Opened once, closed once, for good. Any thread may call it; gRPC's threads do.
class OutStream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                        public std::enable_shared_from_this<OutStream> {
 public:
  // Told on gRPC's threads, without a lock; OnEnd last, once.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void OnWelcome(LinkClass link_class, NodeLife peer) = 0;
    // `ended`: not 0: this node's lives through it have ended.
    virtual void OnRefused(LinkClass link_class, std::string why, Incarnation ended) = 0;
    virtual void OnRoom(LinkClass link_class) = 0;
    virtual void OnPong(uint64_t pong) = 0;
    virtual void OnEnd(LinkClass link_class, std::string why) = 0;
  };

  // `hello` is a ToPeer. Nothing is sent before Open. `gone` is called when nothing of it is left,
  // its channel included.
  static std::shared_ptr<OutStream> Create(LinkClass link_class, const LinkOptions& options,
                                           LinkClassMetrics& metrics, std::string hello,
                                           std::shared_ptr<Owner> owner,
                                           std::function<void()> gone);
  // Once.
  void Open(grpc::GenericStub& stub);

  // `more`: as Links::Send has it.
  LinkSend Send(std::string_view item, bool more);
  // Nothing follows what was sent with `more`.
  void Flush();
  bool IsFull() const;
  // Given to it, and not taken by the peer.
  LinkCredit::Amount on_way() const;
  void Ping(uint64_t ping);
  void Close(std::string why);

 private:
  enum class State { kNew, kHello, kOpen, kClosed };

  OutStream(LinkClass link_class, const LinkOptions& options, LinkClassMetrics& metrics,
            std::string hello, std::shared_ptr<Owner> owner);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  void OnAnswer(std::string_view bytes);
  void OnBack(std::string_view bytes);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const LinkClass class_;
  const size_t frame_bytes_max_;
  LinkClassMetrics& metrics_;
  const std::shared_ptr<Owner> owner_;
  grpc::ClientContext context_;
  grpc::ByteBuffer in_;
  grpc::ByteBuffer out_;
  std::shared_ptr<OutStream> self_;  // Until OnDone.

  mutable base::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kNew;
  LinkCredit credit_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> frames_ ABSL_GUARDED_BY(mutex_);  // Those that wait to be written.
  uint64_t ping_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool wants_room_ ABSL_GUARDED_BY(mutex_) = false;
  std::string why_ ABSL_GUARDED_BY(mutex_);
};

const char* MethodOf(LinkClass link_class);

}  // namespace cluster

#endif  // CLUSTER_LINK_OUT_STREAM_H_
