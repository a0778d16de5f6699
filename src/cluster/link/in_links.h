// Links that other nodes have made to this one.
#ifndef CLUSTER_LINK_IN_LINKS_H_
#define CLUSTER_LINK_IN_LINKS_H_

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "cluster/link/door.h"
#include "cluster/link/in_stream.h"
#include "cluster/link/links.h"
#include "mqttd/cluster/v1/link.pb.h"

namespace cluster {

// What is counted, by node; kept from when a node is first known.
class PeerMetricsTable {
 public:
  std::shared_ptr<PeerMetrics> Of(NodeId node);

 private:
  base::Mutex mutex_;
  std::map<NodeId, std::shared_ptr<PeerMetrics>> metrics_ ABSL_GUARDED_BY(mutex_);
};

// One link of each node: a later one ends the one before. Any thread may call it.
class InLinks final : public InStream::Owner {
 public:
  // `called`: a node has made a link, so it is there, and whence, as gRPC says it. Called on gRPC's
  // threads, without a lock.
  using Called = std::function<void(NodeId, const std::string& caller)>;
  InLinks(LinkHandler& handler, PeerMetricsTable& metrics, Called called)
      : handler_(handler), metrics_(metrics), called_(std::move(called)) {}

  // Whoever is not welcome any more is sent away.
  void SetDoor(std::shared_ptr<const Door> door);

  InStream::Admitted Admit(const ::mqttd::cluster::v1::Hello& hello, LinkClass link_class,
                           const std::shared_ptr<InStream>& stream) override;
  void OnFrame(ReceivedFrame frame) override { handler_.OnFrame(std::move(frame)); }
  void OnEnd(LinkClass link_class, const std::shared_ptr<InStream>& stream) override;

 private:
  using Streams = std::array<std::shared_ptr<InStream>, kLinkClasses>;
  struct InLink {
    ::mqttd::cluster::v1::Hello hello;
    Streams streams;
  };
  std::string Register(const ::mqttd::cluster::v1::Hello& hello, LinkClass link_class,
                       const std::shared_ptr<InStream>& stream, Streams& replaced)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  LinkHandler& handler_;
  PeerMetricsTable& metrics_;
  const Called called_;
  base::Mutex mutex_;
  std::shared_ptr<const Door> door_ ABSL_GUARDED_BY(mutex_) = std::make_shared<const Door>();
  std::map<NodeId, InLink> links_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cluster

#endif  // CLUSTER_LINK_IN_LINKS_H_
