#include "cluster/link/in_links.h"

#include <tuple>
#include <utility>

#include "base/log.h"

namespace cluster {
namespace {

using Hello = ::mqttd::cluster::v1::Hello;

NodeId NodeOf(const Hello& hello) { return NodeId(static_cast<uint16_t>(hello.node())); }

// Later links come after earlier ones.
auto OrderOf(const Hello& hello) { return std::make_tuple(hello.incarnation(), hello.link()); }

}  // namespace

std::shared_ptr<PeerMetrics> PeerMetricsTable::Of(NodeId node) {
  base::MutexLock lock(mutex_);
  std::shared_ptr<PeerMetrics>& metrics = metrics_[node];
  if (metrics == nullptr) metrics = std::make_shared<PeerMetrics>();
  return metrics;
}

void InLinks::SetDoor(std::shared_ptr<const Door> door) {
  std::vector<std::pair<std::shared_ptr<InStream>, std::string>> sent_away;
  {
    base::MutexLock lock(mutex_);
    door_ = std::move(door);
    for (auto it = links_.begin(); it != links_.end();) {
      const std::string why = WhyNotWelcome(it->second.hello, *door_);
      if (why.empty()) {
        ++it;
        continue;
      }
      for (std::shared_ptr<InStream>& stream : it->second.streams) {
        if (stream != nullptr) sent_away.emplace_back(std::move(stream), why);
      }
      it = links_.erase(it);
    }
  }
  for (const auto& [stream, why] : sent_away) stream->Close(why);
}

std::string InLinks::Register(const Hello& hello, LinkClass link_class,
                              const std::shared_ptr<InStream>& stream, Streams& replaced) {
  InLink& link = links_[NodeOf(hello)];
  if (OrderOf(hello) < OrderOf(link.hello)) return "the node has made another link since";
  if (OrderOf(hello) > OrderOf(link.hello)) {
    replaced = std::exchange(link.streams, {});
    link.hello = hello;
  }
  std::shared_ptr<InStream>& slot = link.streams[static_cast<size_t>(link_class)];
  if (slot != nullptr) return "that stream of this link is there already";
  slot = stream;
  return "";
}

InStream::Admitted InLinks::Admit(const Hello& hello, LinkClass link_class,
                                  const std::shared_ptr<InStream>& stream) {
  InStream::Admitted admitted;
  Streams replaced;
  std::shared_ptr<const Door> door;
  {
    base::MutexLock lock(mutex_);
    door = door_;
    admitted.why_not = WhyNotWelcome(hello, *door);
    if (admitted.why_not.empty()) admitted.why_not = Register(hello, link_class, stream, replaced);
  }
  for (const std::shared_ptr<InStream>& former : replaced) {
    if (former != nullptr) former->Close("the node has made another link since");
  }
  if (!admitted.why_not.empty()) {
    base::LogLimited(base::LogLevel::kWarning, "node refused", "not welcome",
                     {{"node", hello.node()}, {"uuid", hello.uuid()}, {"why", admitted.why_not}});
    admitted.ended = EndedThrough(hello, *door);
    if (door->nodes.contains(NodeOf(hello))) metrics_.Of(NodeOf(hello))->refused.Add();
    return admitted;
  }
  if (link_class == LinkClass::kControl) called_(NodeOf(hello), stream->caller());
  admitted.from = {NodeOf(hello), Incarnation(hello.incarnation())};
  admitted.link = hello.link();
  // It is kept for as long as the table is.
  admitted.metrics = &(*metrics_.Of(admitted.from.node))[link_class];
  ::mqttd::cluster::v1::FromPeer answer;
  answer.mutable_welcome()->set_version(LinkVersionWith(hello));
  answer.mutable_welcome()->set_node(door->self.node.value());
  answer.mutable_welcome()->set_incarnation(door->self.incarnation.value());
  answer.mutable_welcome()->set_release(door->release);
  admitted.welcome = answer.SerializeAsString();
  return admitted;
}

void InLinks::OnEnd(LinkClass link_class, const std::shared_ptr<InStream>& stream) {
  base::MutexLock lock(mutex_);
  const auto it = links_.find(stream->from().node);
  if (it == links_.end()) return;
  std::shared_ptr<InStream>& slot = it->second.streams[static_cast<size_t>(link_class)];
  if (slot == stream) slot = nullptr;
}

}  // namespace cluster
