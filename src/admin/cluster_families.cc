// Links to the other nodes of the cluster, and what goes over them.
#include "absl/strings/str_cat.h"
#include "admin/families.h"
#include "admin/metrics_text.h"
#include "base/cluster_view.h"

namespace admin {
namespace {

void AddMembers(const base::ClusterView* cluster, FamilyBuilder& out) {
  uint64_t live = 0;
  uint64_t led = 0;
  uint64_t leaderless = 0;
  if (cluster != nullptr) {
    for (const base::ClusterView::Member& member : cluster->members) live += member.live ? 1 : 0;
    for (const base::ClusterView::Partition& partition : cluster->partitions) {
      led += partition.leader != 0 && partition.leader == cluster->node ? 1 : 0;
      leaderless += partition.leader == 0 ? 1 : 0;
    }
  }
  const auto add = [&](uint64_t value, std::vector<std::string> labels = {}) {
    if (cluster != nullptr) out.Sample(value, std::move(labels));
  };
  out.Gauge("cluster_members",
            "Nodes of the cluster: live ones, and gone ones, which were given "
            "up and may come back.",
            {"state"});
  add(live, {"live"});
  add(cluster == nullptr ? 0 : cluster->members.size() - live, {"gone"});
  out.Gauge("cluster_lease",
            "1: this node holds its lease. 0: it does not, since most nodes cannot "
            "be reached, and serves no sessions that are kept.");
  add(cluster != nullptr && cluster->holds_lease ? 1 : 0);
  out.Gauge(
      "cluster_aside",
      "1: others had to wait for this node, whose disk takes nothing, so it has stepped aside: "
      "the other nodes serve its clients until its disk works again. 0: it serves clients.");
  add(cluster != nullptr && cluster->aside ? 1 : 0);
  out.Gauge("cluster_holds_replicas",
            "1: replicas of partitions are on this node. 0: none, it serves clients only.");
  add(cluster != nullptr && cluster->holds_replicas ? 1 : 0);
  out.Gauge(
      "cluster_replicas_lost",
      "Partitions that have a replica less since this node came, with an empty data directory, "
      "to where another one was. While it is not 0 /readyz/replicas is 503.");
  add(cluster == nullptr ? 0 : cluster->replicas_lost);
  out.Counter("cluster_time_apart_total",
              "Times that another node's time was more than a minute from this one's, and was not "
              "followed: what expires may end early or late. The log says which node.");
  add(cluster == nullptr ? 0 : cluster->times_apart);
  out.Gauge("cluster_partitions_led", "Partitions that this node leads.");
  add(led);
  out.Gauge("cluster_partitions_without_leader",
            "Partitions of which this node does not know who leads them.");
  add(leaderless);
}

void AddLinks(const std::vector<base::ClusterView::Link>& links, FamilyBuilder& out) {
  using Link = base::ClusterView::Link;
  using Stream = base::ClusterView::Stream;
  const auto of_link = [&](auto Link::*member) {
    for (const Link& link : links) {
      out.Sample(static_cast<double>(link.*member), {absl::StrCat(link.node)});
    }
  };
  const auto of_stream = [&](uint64_t Stream::*member) {
    for (const Link& link : links) {
      for (const Stream& stream : link.streams)
        out.Sample(stream.*member, {absl::StrCat(link.node), stream.link_class});
    }
  };
  out.Gauge("cluster_link_up", "1: there is a link to that node. 0: there is none.", {"node"});
  of_link(&Link::up);
  out.Gauge("cluster_link_round_trip_seconds", "As long as the last ping took.", {"node"});
  of_link(&Link::round_trip_s);
  out.Counter("cluster_link_connected_total", "Times that a link to the node was made.", {"node"});
  of_link(&Link::connected);
  out.Counter("cluster_link_disconnected_total", "Times that it was lost.", {"node"});
  of_link(&Link::disconnected);
  out.Counter("cluster_link_items_total", "Items sent, by class of what a link carries.",
              {"node", "class"});
  of_stream(&Stream::items);
  out.Counter("cluster_link_bytes_total", "Bytes of these items.", {"node", "class"});
  of_stream(&Stream::bytes);
  out.Counter("cluster_link_frames_total", "Frames in which they went.", {"node", "class"});
  of_stream(&Stream::frames);
  out.Counter("cluster_link_dropped_total",
              "Items of control and log that were dropped because too much was on its way to the "
              "node: they are sent again by who needs them.",
              {"node", "class"});
  of_stream(&Stream::dropped);
  out.Counter("cluster_link_full_total",
              "Times that traffic or bulk had to wait because too much was on its way.",
              {"node", "class"});
  of_stream(&Stream::times_full);
}

void AddTraffic(const base::ClusterView::Traffic* traffic, FamilyBuilder& out) {
  const auto add = [&](uint64_t base::ClusterView::Traffic::*member,
                       std::vector<std::string> labels) {
    if (traffic != nullptr) out.Sample(traffic->*member, std::move(labels));
  };
  using Traffic = base::ClusterView::Traffic;
  out.Counter("cluster_forwarded_total",
              "Messages between this node and others, for sessions that are connected there or "
              "here: sent, received, and repeated, which came again after a link was lost and were "
              "known.",
              {"direction"});
  add(&Traffic::forwarded, {"sent"});
  add(&Traffic::received, {"received"});
  add(&Traffic::repeated, {"repeated"});
  out.Counter("cluster_forwards_dropped_total",
              "Messages of QoS 0 that were not forwarded: there was no link to the node, and as "
              "much waited for it as may.");
  add(&Traffic::dropped, {});
  out.Counter("cluster_forward_waits_total",
              "Times that a node was behind with what it is sent, so that publishers had to wait.");
  add(&Traffic::times_behind, {});
  out.Counter("cluster_forward_gaps_total",
              "Times that forwarded messages were missing. It is a fault if this is not 0.");
  add(&Traffic::gaps, {});
  out.Counter("cluster_requests_total",
              "Requests of shards here to partitions that other nodes lead. Dropped: who leads the "
              "partition was not known, or there was no link; they are asked for anew.",
              {"fate"});
  add(&Traffic::requests_sent, {"sent"});
  add(&Traffic::requests_dropped, {"dropped"});
  out.Counter("cluster_events_total",
              "What partitions led here had to say to shards of other nodes. Dropped: there was no "
              "link, or the node has begun another life; they are made up for.",
              {"fate"});
  add(&Traffic::events_sent, {"sent"});
  add(&Traffic::events_dropped, {"dropped"});
  out.Counter("cluster_resyncs_total",
              "Times that a node was asked for all that it has under way, because a link to it or "
              "from it had been lost.");
  add(&Traffic::resyncs, {});
  out.Counter("cluster_unreadable_total",
              "Items of other nodes that cannot be read. It is a fault if this is not 0.");
  add(&Traffic::unreadable, {});
}

}  // namespace

void AddCluster(const NodeView& node, FamilyBuilder& out) {
  out.BeginChapter("Other nodes of the cluster");
  AddMembers(node.cluster, out);
  AddLinks(node.cluster == nullptr ? std::vector<base::ClusterView::Link>() : node.cluster->links,
           out);
  AddTraffic(node.cluster == nullptr ? nullptr : &node.cluster->traffic, out);
}

}  // namespace admin
