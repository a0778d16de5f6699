// The links of a node to all others.
#ifndef CLUSTER_LINK_LINKS_H_
#define CLUSTER_LINK_LINKS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "cluster/core/node_life.h"
#include "cluster/link/door.h"
#include "cluster/link/metrics.h"
#include "cluster/link/options.h"
#include "cluster/link/received_frame.h"

namespace mqttd::cluster::v1 {
class AdminRequest;
class AdminResponse;
class BootstrapView;
class JoinRequest;
class JoinResponse;
}  // namespace mqttd::cluster::v1

namespace cluster {

enum class LinkSend : uint8_t {
  kQueued,
  kFull,     // Not taken: OnRoom comes when there is room.
  kDropped,  // The stream is full, and what it carries is sent again by who needs it.
  kDown,     // There is no link. OnUp comes when there is.
  kTooLarge,
};

// Told on threads of the links, which must not be kept waiting: post it to where it belongs.
class LinkHandler {
 public:
  virtual ~LinkHandler() = default;

  // What is sent to that node goes to that life of it and by this link, until OnDown; before OnUp,
  // and from when the link is over, nothing goes. Both come in turns.
  virtual void OnUp(NodeLife /*peer*/) {}
  // What was sent and not heard of may be lost.
  virtual void OnDown(NodeId /*peer*/, const std::string& /*why*/) {}
  // Another node refuses this one: its lives through that incarnation have ended. Who was cut off
  // when they were declared so hears of it in no other way: no link of that life is welcome.
  virtual void OnLifeOver(Incarnation /*through*/) {}
  // After kFull: go on.
  virtual void OnRoom(NodeId /*peer*/, LinkClass /*link_class*/) {}
  // Frames of one node and class in their order. Say Took when done with it.
  virtual void OnFrame(ReceivedFrame frame) = 0;

  // A node that may not belong to the cluster asks. An answer that is dropped is an error there.
  virtual void OnMeet(const ::mqttd::cluster::v1::BootstrapView& /*view*/,
                      std::function<void(const ::mqttd::cluster::v1::BootstrapView&)> /*answer*/) {}
  virtual void OnJoin(const ::mqttd::cluster::v1::JoinRequest& /*request*/,
                      std::function<void(const ::mqttd::cluster::v1::JoinResponse&)> /*answer*/) {}
  // A member passes on a call of the admin API. Likewise.
  virtual void OnAdmin(const ::mqttd::cluster::v1::AdminRequest& /*request*/,
                       std::function<void(const ::mqttd::cluster::v1::AdminResponse&)> /*answer*/) {
  }
};

struct PeerReport {
  NodeId node;
  std::string address;
  bool up = false;
  NodeLife life;                                             // While it is up.
  absl::Duration round_trip;                                 // The last; zero: none as yet.
  std::string why;                                           // While it is down: why, in words.
  std::array<LinkCredit::Amount, kLinkClasses> on_way = {};  // Sent, and not taken there.
  std::shared_ptr<const PeerMetrics> metrics;
};

// Listens for other nodes, and connects to them: to each a link of four streams, which it keeps and
// makes anew when it breaks. What is sent over a link comes in order, each class by itself, or the
// link is down. Bounded by LinkOptions::limits for each node and class. Any thread may call it.
class Links {
 public:
  // `handler` and `clock` outlive it. Errors: kUnavailable (it cannot listen there),
  // kInvalidArgument (TLS), in words.
  static absl::StatusOr<std::unique_ptr<Links>> Start(LinkOptions options, LinkHandler& handler,
                                                      const base::Clock& clock);
  // Whether the files that are named for TLS are there, as Start needs them. kInvalidArgument.
  static absl::Status Check(const LinkOptions& options);
  virtual ~Links() = default;  // Stops.

  // Who this node is and whom it lets in. Links that are there stay, but those of nodes that are
  // not welcome any more.
  virtual void SetDoor(Door door) = 0;
  // To whom it connects, under which address.
  virtual void SetPeers(std::map<NodeId, std::string> peers) = 0;

  // `more`: the caller sends another item there at once, whatever becomes of this one; so they go
  // in one frame.
  LinkSend Send(NodeId to, LinkClass link_class, std::string_view item, bool more = false) {
    return DoSend(to, link_class, item, more);
  }
  // Whoever may wait looks at this before it makes more.
  virtual bool IsFull(NodeId to, LinkClass link_class) const = 0;

  // `done` is called once, on a thread of the links. kUnavailable, in words: no answer.
  virtual void Meet(
      const std::string& address, const ::mqttd::cluster::v1::BootstrapView& view,
      absl::Duration within,
      std::function<void(absl::StatusOr<::mqttd::cluster::v1::BootstrapView>)> done) = 0;
  virtual void Join(
      const std::string& address, const ::mqttd::cluster::v1::JoinRequest& request,
      absl::Duration within,
      std::function<void(absl::StatusOr<::mqttd::cluster::v1::JoinResponse>)> done) = 0;
  // Over the link to that node, in the name of this one; `from` is filled in. When the link is lost
  // the answer is not waited for any longer.
  virtual void Admin(
      NodeId to, const ::mqttd::cluster::v1::AdminRequest& request, absl::Duration within,
      std::function<void(absl::StatusOr<::mqttd::cluster::v1::AdminResponse>)> done) = 0;

  virtual std::vector<PeerReport> Report() const = 0;
  // HOST:PORT, with the port that the system chose.
  virtual const std::string& address() const = 0;
  // Nothing is told any more when it returns.
  virtual void Stop() = 0;

 private:
  virtual LinkSend DoSend(NodeId to, LinkClass link_class, std::string_view item, bool more) = 0;
};

}  // namespace cluster

#endif  // CLUSTER_LINK_LINKS_H_
