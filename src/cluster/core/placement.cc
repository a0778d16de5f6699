#include "cluster/core/placement.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace cluster {
namespace {

using storage::NodeId;

// A placement while it is being made. Nodes and zones are indexes, in the order of their numbers.
class Planner {
 public:
  Planner(std::vector<PlacementNode> nodes, uint32_t replicas, absl::Span<const GroupNodes> current)
      : nodes_(std::move(nodes)),
        replicas_(std::min<size_t>(replicas, nodes_.size())),
        groups_(current.size()),
        leaders_(current.size()),
        replicas_on_(nodes_.size()),
        leads_(nodes_.size()) {
    std::sort(nodes_.begin(), nodes_.end(),
              [](const PlacementNode& a, const PlacementNode& b) { return a.node < b.node; });
    NumberZones();
    for (size_t group = 0; group < current.size(); ++group) Keep(group, current[group]);
  }

  std::vector<GroupNodes> Plan() {
    for (size_t group = 0; group < groups_.size(); ++group) Fill(group);
    while (SpreadOverZones() || Balance()) {
    }
    for (size_t group = 0; group < groups_.size(); ++group) ChooseLeader(group);
    while (BalanceLeaders()) {
    }
    std::vector<GroupNodes> placed(groups_.size());
    for (size_t group = 0; group < groups_.size(); ++group) {
      for (const size_t node : groups_[group]) placed[group].replicas.push_back(nodes_[node].node);
      if (leaders_[group].has_value()) placed[group].leader = nodes_[*leaders_[group]].node;
    }
    return placed;
  }

 private:
  void NumberZones() {
    std::map<std::string, size_t> zones;
    for (const PlacementNode& node : nodes_) {
      const std::string name =
          node.zone.empty() ? absl::StrCat("node ", node.node.value()) : "zone " + node.zone;
      zone_of_.push_back(zones.try_emplace(name, zones.size()).first->second);
    }
    zones_ = zones.size();
  }

  std::optional<size_t> IndexOf(NodeId id) const {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].node == id) return i;
    }
    return std::nullopt;
  }

  // Of more replicas than wanted those stay that are first in order: the others go when the group
  // is filled.
  void Keep(size_t group, const GroupNodes& current) {
    for (const NodeId id : current.replicas) {
      if (const auto node = IndexOf(id)) Add(group, *node);
    }
    const auto leader = IndexOf(current.leader);
    if (leader.has_value() && groups_[group].contains(*leader)) leaders_[group] = leader;
  }

  void Add(size_t group, size_t node) {
    if (groups_[group].insert(node).second) ++replicas_on_[node];
  }
  void Remove(size_t group, size_t node) {
    groups_[group].erase(node);
    --replicas_on_[node];
    if (leaders_[group] == node) leaders_[group].reset();
  }

  size_t InZone(size_t group, size_t zone) const {
    return static_cast<size_t>(std::count_if(groups_[group].begin(), groups_[group].end(),
                                             [&](size_t node) { return zone_of_[node] == zone; }));
  }

  // Less is better: how many of the group are in the node's zone, and how much the node has.
  std::pair<size_t, size_t> CostOf(size_t group, size_t node) const {
    return {InZone(group, zone_of_[node]), replicas_on_[node]};
  }

  void Fill(size_t group) {
    while (groups_[group].size() < replicas_) {
      std::optional<size_t> best;
      for (size_t node = 0; node < nodes_.size(); ++node) {
        if (groups_[group].contains(node)) continue;
        if (!best.has_value() || CostOf(group, node) < CostOf(group, *best)) best = node;
      }
      Add(group, *best);
    }
    while (groups_[group].size() > replicas_) {
      size_t worst = *groups_[group].begin();
      for (const size_t node : groups_[group]) {
        if (CostOf(group, node) > CostOf(group, worst)) worst = node;
      }
      Remove(group, worst);
    }
  }

  // Moves one replica out of a zone that has two of its group, if another zone has none.
  bool SpreadOverZones() {
    if (zones_ < 2) return false;
    for (size_t group = 0; group < groups_.size(); ++group) {
      for (const size_t from : groups_[group]) {
        if (InZone(group, zone_of_[from]) < 2) continue;
        std::optional<size_t> best;
        for (size_t node = 0; node < nodes_.size(); ++node) {
          if (InZone(group, zone_of_[node]) != 0) continue;
          if (!best.has_value() || replicas_on_[node] < replicas_on_[*best]) best = node;
        }
        if (!best.has_value()) break;
        Add(group, *best);
        Remove(group, from);
        return true;
      }
    }
    return false;
  }

  // Moves one replica from a node that has at least two more than another, the fullest first.
  bool Balance() {
    std::vector<size_t> by_load(nodes_.size());
    for (size_t i = 0; i < by_load.size(); ++i) by_load[i] = i;
    std::stable_sort(by_load.begin(), by_load.end(),
                     [&](size_t a, size_t b) { return replicas_on_[a] > replicas_on_[b]; });
    for (const size_t from : by_load) {
      for (auto to = by_load.rbegin(); to != by_load.rend(); ++to) {
        if (replicas_on_[from] < replicas_on_[*to] + 2) break;
        if (const auto group = Movable(from, *to)) {
          const bool led = leaders_[*group] == from;
          Add(*group, *to);
          Remove(*group, from);
          if (led) leaders_[*group] = *to;
          return true;
        }
      }
    }
    return false;
  }

  // A group whose replica may go from one node to the other; rather one that the node does not
  // lead.
  std::optional<size_t> Movable(size_t from, size_t to) const {
    std::optional<size_t> led;
    for (size_t group = 0; group < groups_.size(); ++group) {
      if (!groups_[group].contains(from) || groups_[group].contains(to)) continue;
      const bool crowds =
          zone_of_[from] != zone_of_[to] &&
          InZone(group, zone_of_[to]) >= std::max<size_t>(InZone(group, zone_of_[from]), 1);
      if (crowds) continue;
      if (leaders_[group] != from) return group;
      if (!led.has_value()) led = group;
    }
    return led;
  }

  void ChooseLeader(size_t group) {
    if (!leaders_[group].has_value()) {
      for (const size_t node : groups_[group]) {
        if (!leaders_[group].has_value() || leads_[node] < leads_[*leaders_[group]])
          leaders_[group] = node;
      }
    }
    if (leaders_[group].has_value()) ++leads_[*leaders_[group]];
  }

  // Hands leaderships on along a chain of nodes, each of which has a replica of what it gets, from
  // one that has at least two more than the last. Without such a chain nothing is better.
  bool BalanceLeaders() {
    for (size_t start = 0; start < nodes_.size(); ++start) {
      std::map<size_t, std::pair<size_t, size_t>> came_by;  // Node -> the group, and from whom.
      std::vector<size_t> reached = {start};
      for (size_t i = 0; i < reached.size(); ++i) {
        const size_t node = reached[i];
        if (leads_[node] + 2 <= leads_[start]) {
          HandOn(start, node, came_by);
          return true;
        }
        for (size_t group = 0; group < groups_.size(); ++group) {
          if (leaders_[group] != node) continue;
          for (const size_t next : groups_[group]) {
            if (next == start || came_by.contains(next)) continue;
            came_by[next] = {group, node};
            reached.push_back(next);
          }
        }
      }
    }
    return false;
  }

  void HandOn(size_t start, size_t end,
              const std::map<size_t, std::pair<size_t, size_t>>& came_by) {
    for (size_t node = end; node != start;) {
      const auto [group, from] = came_by.at(node);
      leaders_[group] = node;
      node = from;
    }
    --leads_[start];
    ++leads_[end];
  }

  std::vector<PlacementNode> nodes_;
  const size_t replicas_;
  std::vector<size_t> zone_of_;  // By node.
  size_t zones_ = 0;
  std::vector<std::set<size_t>> groups_;  // Their nodes.
  std::vector<std::optional<size_t>> leaders_;
  std::vector<size_t> replicas_on_;  // By node.
  std::vector<size_t> leads_;        // By node.
};

}  // namespace

std::vector<GroupNodes> PlaceGroups(std::vector<PlacementNode> nodes, uint32_t replicas,
                                    absl::Span<const GroupNodes> current) {
  return Planner(std::move(nodes), replicas, current).Plan();
}

std::vector<PlacementMove> MovesBetween(absl::Span<const GroupNodes> from,
                                        absl::Span<const GroupNodes> to) {
  CHECK(from.size() == to.size()) << "placements of the same groups";
  std::vector<PlacementMove> moves;
  for (size_t group = 0; group < from.size(); ++group) {
    std::vector<NodeId> leave;
    std::vector<NodeId> come;
    std::set_difference(from[group].replicas.begin(), from[group].replicas.end(),
                        to[group].replicas.begin(), to[group].replicas.end(),
                        std::back_inserter(leave));
    std::set_difference(to[group].replicas.begin(), to[group].replicas.end(),
                        from[group].replicas.begin(), from[group].replicas.end(),
                        std::back_inserter(come));
    for (size_t i = 0; i < std::max(leave.size(), come.size()); ++i) {
      moves.push_back(
          {group, i < leave.size() ? leave[i] : NodeId(), i < come.size() ? come[i] : NodeId()});
    }
  }
  return moves;
}

}  // namespace cluster
