#include "cluster/transport/raft_transport.h"

#include <string>
#include <utility>
#include <variant>

#include "base/log.h"

namespace cluster {
namespace {

// eraftpb.MessageType.
constexpr uint8_t kAppend = 3;
constexpr uint8_t kAppendResponse = 4;
constexpr uint8_t kSnapshot = 7;

}  // namespace

LinkClass ClassOfRaftMessage(uint8_t kind) {
  return kind == kAppend || kind == kAppendResponse || kind == kSnapshot ? LinkClass::kLog
                                                                         : LinkClass::kControl;
}

void RaftTransport::SetReplicas(std::map<Place, NodeId> replicas) {
  auto made = std::make_shared<const std::map<Place, NodeId>>(std::move(replicas));
  base::MutexLock lock(mutex_);
  replicas_ = std::move(made);
}

std::shared_ptr<const std::map<RaftTransport::Place, NodeId>> RaftTransport::replicas() const {
  base::MutexLock lock(mutex_);
  return replicas_;
}

void RaftTransport::Send(const std::vector<RaftLoop::Message>& messages) {
  const auto places = replicas();
  std::map<std::pair<NodeId, LinkClass>, size_t> left;  // How many are still to be sent there.
  for (const RaftLoop::Message& message : messages) {
    if (const auto it = places->find({message.group, message.to}); it != places->end())
      ++left[{it->second, ClassOfRaftMessage(message.kind)}];
  }
  for (const RaftLoop::Message& message : messages) {
    const Place place{message.group, message.to};
    const auto it = places->find(place);
    LinkSend sent = LinkSend::kDown;
    if (it != places->end()) {
      const LinkClass link_class = ClassOfRaftMessage(message.kind);
      const bool more = --left[{it->second, link_class}] != 0;
      sent = links_.Send(
          it->second, link_class,
          EncodeControl(RaftItem{message.group, message.to, message.data, message.all_have}), more);
    }
    if (sent == LinkSend::kQueued) {
      metrics_.sent.Add();
      continue;
    }
    metrics_.lost.Add();
    parts_.unreachable(place);
  }
}

void RaftTransport::OnFrame(ReceivedFrame frame) {
  std::vector<RaftLoop::Message> messages;
  for (size_t i = 0; i < frame.size(); ++i) {
    const absl::StatusOr<ControlItem> item = ParseControl(frame[i]);
    if (!item.ok()) {
      metrics_.damaged.Add();
      base::LogLimited(base::LogLevel::kWarning, "item of a node dropped", "unreadable",
                       {{"node", frame.from().node.value()}, {"why", item.status()}});
      continue;
    }
    if (const auto* const raft = std::get_if<RaftItem>(&*item)) {
      messages.push_back({.group = raft->group,
                          .to = raft->to,
                          .kind = 0,
                          .data = std::string(raft->data),
                          .all_have = raft->all_have});
    } else {
      parts_.other(frame.from(), *item);
    }
  }
  if (messages.empty()) return frame.Took();
  parts_.receive(std::move(messages), [frame = std::move(frame)]() mutable { frame.Took(); });
}

void RaftTransport::OnDown(NodeId peer) {
  const auto places = replicas();  // Held: another may take its place meanwhile.
  for (const auto& [place, node] : *places) {
    if (node == peer) parts_.unreachable(place);
  }
}

}  // namespace cluster
