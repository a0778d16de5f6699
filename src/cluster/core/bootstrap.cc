#include "cluster/core/bootstrap.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/counted.h"

namespace cluster {
namespace {

using Formation = Bootstrap::Formation;
using View = Bootstrap::View;

constexpr size_t kAddressBytesMax = 300;

bool IsFounder(const Formation& formation, const std::string& uuid) {
  return std::any_of(formation.founders().begin(), formation.founders().end(),
                     [&](const Formation::Founder& founder) { return founder.uuid() == uuid; });
}

// All that have to promise.
std::vector<const Formation::Founder*> PartiesOf(const Formation& formation) {
  std::vector<const Formation::Founder*> parties;
  for (const Formation::Founder& founder : formation.founders()) parties.push_back(&founder);
  for (const Formation::Founder& witness : formation.witnesses()) parties.push_back(&witness);
  return parties;
}

bool IsParty(const Formation& formation, const std::string& uuid) {
  const auto parties = PartiesOf(formation);
  return std::any_of(parties.begin(), parties.end(),
                     [&](const Formation::Founder* party) { return party->uuid() == uuid; });
}

bool IsFree(const View& view) { return view.cluster_id().empty() && !view.has_formation(); }

// Is a member, or has promised itself to that formation.
bool StandsFor(const View& view, const Formation& formation) {
  return view.cluster_id() == formation.cluster_id() ||
         (view.has_formation() && view.formation().cluster_id() == formation.cluster_id());
}

bool IsHostAndPort(const std::string& address) {
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  return colon != 0 && colon != std::string::npos && address.size() <= kAddressBytesMax &&
         absl::SimpleAtoi(address.substr(colon + 1), &port) && port != 0 && port <= 0xFFFF;
}

std::string RandomUuid(base::Rng& rng) {
  const uint64_t a = rng();
  const uint64_t b = rng();
  return absl::StrFormat("%08x-%04x-4%03x-%04x-%012x", a >> 32, (a >> 16) & 0xFFFF, a & 0xFFF,
                         0x8000 | (b >> 48 & 0x3FFF), b & 0xFFFFFFFFFFFF);
}

}  // namespace

Bootstrap::Bootstrap(BootstrapOptions options, Identity identity, base::Rng rng)
    : options_(std::move(options)), identity_(std::move(identity)), rng_(rng) {
  if (is_former()) give_up_at_ = -absl::InfiniteDuration();  // Set at the first Tick.
  SetSeeds(options_.seeds);
  for (const std::string& member : identity_.members()) Hear(member);
  for (const Formation::Founder* const party : PartiesOf(identity_.formation()))
    Hear(party->address());
}

void Bootstrap::SetSeeds(std::vector<std::string> seeds) {
  seeds_ = std::move(seeds);
  if (!options_.address.empty()) seeds_.push_back(options_.address);
  std::sort(seeds_.begin(), seeds_.end());
  seeds_.erase(std::unique(seeds_.begin(), seeds_.end()), seeds_.end());
  for (const std::string& seed : seeds_) Hear(seed);
}

void Bootstrap::Hear(const std::string& address) {
  if (address.empty() || address == options_.address || contacts_.size() >= kContactsMax) return;
  contacts_.try_emplace(address);
}

View Bootstrap::MyView() const {
  View view;
  view.set_uuid(options_.uuid);
  view.set_start(options_.start);
  view.set_address(options_.address);
  view.set_expected_size(was_ordered() ? 0 : options_.expected_size);  // Nobody counts on it.
  view.set_partitions(options_.partitions);
  view.set_replicas(options_.replicas);
  view.set_zone(options_.zone);
  view.set_release(options_.release);
  view.set_level_max(options_.level_max);
  view.set_cluster_id(identity_.cluster_id());
  if (identity_.has_formation()) *view.mutable_formation() = identity_.formation();
  for (const auto& [address, contact] : contacts_) view.add_known(address);
  return view;
}

std::vector<Bootstrap::Ask> Bootstrap::Tick(absl::Duration now) {
  now_ = now;
  if (is_former()) {
    if (give_up_at_ == -absl::InfiniteDuration()) give_up_at_ = now + options_.promised_within;
    if (now >= give_up_at_) {
      given_up_why_ = "not all nodes that are to found the cluster have answered";
      Release();
    }
  }
  FormIfDue();
  std::vector<Ask> asks;
  // A member need not look for anybody.
  if (is_member()) return asks;
  for (auto& [address, contact] : contacts_) {
    if (now < contact.next_ask) continue;
    contact.next_ask = now + options_.asked_every;
    contact.number = ++last_number_;
    contact.asked_about = has_promised() ? identity_.formation().cluster_id() : "";
    asks.push_back({address, contact.number, MyView()});
  }
  return asks;
}

void Bootstrap::OnAnswer(const std::string& address, uint64_t number, const View& view,
                         absl::Duration now) {
  const auto it = contacts_.find(address);
  if (it == contacts_.end() || it->second.number != number) return;
  now_ = now;
  Contact& contact = it->second;
  contact.view = view;
  contact.heard = now;
  const std::string about = contact.asked_about;
  NoteCopies(view);
  OnView(view);
  // It has seen what we have promised, and says what it thinks of it.
  if (has_promised() && about == identity_.formation().cluster_id())
    OnFoundersAnswer(address, view);
}

absl::Status Bootstrap::LookAt(const std::vector<std::string>& addresses) {
  if (is_member() && identity_.formation().founders_size() == 1) {
    return absl::FailedPreconditionError(
        "this node has founded a cluster of its own, and what is in its data directory cannot be "
        "taken into another one: start it with an empty data_dir, and without seeds and "
        "expected_size, and tell it then");
  }
  if (is_member()) {
    return absl::FailedPreconditionError(
        absl::StrCat("this node is a member of cluster ", identity_.cluster_id(),
                     " already: to take it into another one, start it with an empty data_dir, and "
                     "let the cluster that it leaves forget it"));
  }
  if (has_promised()) {
    return absl::FailedPreconditionError(absl::StrCat("this node is about to found a cluster (",
                                                      why(), "): start it without expected_size"));
  }
  std::vector<std::string> others;
  for (const std::string& address : addresses) {
    if (!IsHostAndPort(address))
      return absl::InvalidArgumentError(
          absl::StrCat("addresses: \"", address, "\" is no HOST:PORT"));
    if (address != options_.address) others.push_back(address);
  }
  if (others.empty()) {
    return absl::InvalidArgumentError(
        "addresses: where nodes of the cluster listen for other nodes, HOST:PORT (their "
        "cluster.listen)");
  }
  identity_.clear_members();
  for (const std::string& address : others) identity_.add_members(address);
  contacts_.clear();
  join_cluster_.clear();
  conflict_.clear();
  for (const std::string& seed : seeds_) Hear(seed);
  for (const std::string& address : others) Hear(address);
  Write();
  return absl::OkStatus();
}

// One UUID that two processes bear: a directory was copied, a machine cloned.
void Bootstrap::NoteCopies(const View& view) {
  for (const auto& [address, contact] : contacts_) {
    if (!Fresh(contact) || contact.view->uuid() != view.uuid() ||
        contact.view->start() == view.start())
      continue;
    Conflict(absl::StrCat("two processes, at ", contact.view->address(), " and ", view.address(),
                          ", run with copies of one data directory"));
  }
}

View Bootstrap::OnAsked(const View& view, absl::Duration now) {
  now_ = now;
  refusal_.clear();
  OnView(view);
  View answer = MyView();
  answer.set_why(refusal_);
  return answer;
}

void Bootstrap::OnView(const View& view) {
  if (view.uuid() == options_.uuid) {
    if (view.start() != options_.start) {
      Conflict(absl::StrCat("a process at ", view.address(),
                            " runs with a copy of this node's data directory"));
    }
    return;
  }
  Hear(view.address());
  for (const std::string& address : view.known()) Hear(address);
  if (!view.cluster_id().empty()) return OnMember(view);
  if (view.has_formation() && !is_member() && !has_promised()) OnPromiseAsked(view);
}

void Bootstrap::OnMember(const View& view) {
  if (is_member()) {
    if (view.cluster_id() != identity_.cluster_id()) {
      Conflict(absl::StrCat("the node at ", view.address(), " belongs to cluster ",
                            view.cluster_id(), ", and this one to ", identity_.cluster_id()));
    }
    return;
  }
  if (view.has_formation() && view.formation().cluster_id() == view.cluster_id() &&
      IsFounder(view.formation(), options_.uuid)) {
    // It has been decided, also about us. If we are promised to another one, that comes to nothing:
    // it lacks us.
    if (!has_promised() || identity_.formation().cluster_id() == view.cluster_id())
      return Become(view.formation());
  }
  // A witness keeps its promise until it has joined: a restart must not make it free for another
  // cluster.
  if (has_promised() && identity_.formation().cluster_id() != view.cluster_id()) return;
  if (join_cluster_.empty()) join_cluster_ = view.cluster_id();
  if (join_cluster_ != view.cluster_id()) {
    Conflict(absl::StrCat("the nodes that were found belong to two clusters, ", join_cluster_,
                          " and ", view.cluster_id(), " (", view.address(), ")"));
  }
}

std::string Bootstrap::WhyNotPromised(const View& view) const {
  const Formation& formation = view.formation();
  if (formation.former() != view.uuid()) return "only its former may ask for promises";
  if (!IsParty(formation, options_.uuid)) return "";
  if (options_.expected_size != static_cast<uint32_t>(formation.founders_size())) {
    return absl::StrCat("the node at ", options_.address, " expects ",
                        base::Counted(options_.expected_size, "node"), ", and the one at ",
                        view.address(), " ", formation.founders_size(),
                        ": expected_size has to be the same on all of them");
  }
  if (options_.partitions != formation.partitions()) {
    return absl::StrCat("the node at ", options_.address, " has ", options_.partitions,
                        " partitions, and the one at ", view.address(), " ",
                        formation.partitions());
  }
  if (options_.level_max < formation.level())
    return absl::StrCat("the node at ", options_.address, " runs an older release");
  if (!join_cluster_.empty()) return "it has found a cluster";
  if (was_ordered()) return "it was told to join a cluster";
  if (has_conflict()) return conflict_;
  return "";
}

void Bootstrap::OnPromiseAsked(const View& view) {
  refusal_ = WhyNotPromised(view);
  if (refusal_.empty() && IsParty(view.formation(), options_.uuid)) Promise(view.formation());
}

void Bootstrap::OnFoundersAnswer(const std::string& address, const View& view) {
  const Formation& formation = identity_.formation();
  if (is_former()) {
    if (!IsParty(formation, view.uuid())) return;
    if (!StandsFor(view, formation)) {
      given_up_why_ = view.why().empty()
                          ? absl::StrCat("the node at ", address, " found a cluster with others")
                          : view.why();
      return Release();
    }
    promised_.insert(view.uuid());
    if (promised_.size() + 1 == PartiesOf(formation).size()) Become(formation);
    return;
  }
  if (view.uuid() == formation.former()) {
    former_is_lost_ = false;
    undecided_.clear();
    if (!StandsFor(view, formation) && join_cluster_.empty()) Release();  // It has given it up.
    return;
  }
  for (const Formation::Founder& founder : formation.founders()) {
    if (founder.uuid() == formation.former() && founder.address() == address)
      former_is_lost_ = true;  // Another node is there in its place.
  }
  if (former_is_lost_ && IsParty(formation, view.uuid())) undecided_.insert(view.uuid());
  FreeIfFormerIsLost();
}

void Bootstrap::FreeIfFormerIsLost() {
  if (!former_is_lost_ || !join_cluster_.empty()) return;
  // All but the former and this node.
  if (undecided_.size() + 2 < PartiesOf(identity_.formation()).size()) return;
  Release();
}

std::vector<const View*> Bootstrap::FreeNodes() const {
  std::map<std::string, const View*> by_uuid;  // One may answer under two addresses.
  for (const auto& [address, contact] : contacts_) {
    if (!Fresh(contact) || !IsFree(*contact.view)) continue;
    if (contact.view->uuid() == options_.uuid || contact.view->uuid().empty()) continue;
    if (contact.view->expected_size() != options_.expected_size) continue;
    by_uuid.emplace(contact.view->uuid(), &*contact.view);
  }
  std::vector<const View*> nodes;
  for (const auto& [uuid, view] : by_uuid) nodes.push_back(view);
  return nodes;
}

bool Bootstrap::HasMostSeeds(size_t& had, size_t& all) const {
  std::set<std::string> free;
  for (const View* const view : FreeNodes()) free.insert(view->uuid());
  free.insert(options_.uuid);
  // By UUID, where it is known whose address it is: a node that has two, or a name and an address,
  // is one node, and this one too.
  std::set<std::string> nodes;
  for (const std::string& seed : seeds_) {
    const auto it = contacts_.find(seed);
    if (seed == options_.address) {
      nodes.insert(options_.uuid);
    } else if (it != contacts_.end() && it->second.view.has_value()) {
      // Also if it is silent now: it has not become another node's by that.
      nodes.insert(it->second.view->uuid());
    } else {
      nodes.insert(seed);
    }
  }
  all = nodes.size();
  had = static_cast<size_t>(std::count_if(nodes.begin(), nodes.end(),
                                          [&](const auto& uuid) { return free.contains(uuid); }));
  return 2 * had > all || all == 0;
}

void Bootstrap::FormIfDue() {
  if (is_member() || has_promised() || was_ordered() || options_.expected_size == 0) return;
  if (!join_cluster_.empty() || has_conflict() || now_ < next_formation_) return;
  size_t had = 0;
  size_t all = 0;
  if (!HasMostSeeds(had, all)) return;
  const std::vector<const View*> others = FreeNodes();
  if (others.size() + 1 < options_.expected_size) return;
  if (!others.empty() && others.front()->uuid() < options_.uuid) return;
  const Formation formation = NewFormation(others);
  if (others.empty()) return Become(formation);
  promised_.clear();
  give_up_at_ = now_ + options_.promised_within;
  Promise(formation);
  // They are to hear of it now.
  for (auto& [address, contact] : contacts_) contact.next_ask = -absl::InfiniteDuration();
}

Formation Bootstrap::NewFormation(const std::vector<const View*>& others) {
  Formation formation;
  formation.set_cluster_id(RandomUuid(rng_));
  formation.set_former(options_.uuid);
  formation.set_partitions(options_.partitions);
  formation.set_replicas(options_.replicas);
  uint32_t level = options_.level_max;
  const View me = MyView();
  std::vector<const View*> parties = others;
  parties.insert(parties.begin(), &me);  // Its UUID is the least.
  for (const View* const view : parties) {
    const bool is_founder =
        static_cast<uint32_t>(formation.founders_size()) < options_.expected_size;
    Formation::Founder& founder =
        is_founder ? *formation.add_founders() : *formation.add_witnesses();
    founder.set_uuid(view->uuid());
    founder.set_address(view->address());
    founder.set_zone(view->zone());
    founder.set_release(view->release());
    founder.set_level_max(view->level_max());
    level = std::min(level, view->level_max());
  }
  formation.set_level(level);
  return formation;
}

void Bootstrap::Promise(const Formation& formation) {
  *identity_.mutable_formation() = formation;
  former_is_lost_ = false;
  undecided_.clear();
  for (const Formation::Founder* const party : PartiesOf(formation)) Hear(party->address());
  Write();
}

void Bootstrap::Release() {
  // Another try comes at another time than the others', if they try too.
  if (is_former()) next_formation_ = now_ + options_.asked_every * (1 + 3 * rng_.Unit());
  identity_.clear_formation();
  promised_.clear();
  former_is_lost_ = false;
  undecided_.clear();
  give_up_at_ = absl::InfiniteDuration();
  Write();
}

void Bootstrap::Become(const Formation& formation) {
  const Formation decided = formation;  // It may be a part of what is changed.
  *identity_.mutable_formation() = decided;
  identity_.set_cluster_id(decided.cluster_id());
  identity_.set_incarnation(1);
  uint32_t number = 0;
  for (const Formation::Founder& founder : decided.founders()) {
    ++number;  // As Members::Founded counts them.
    if (founder.uuid() == options_.uuid) identity_.set_node(number);
  }
  identity_.clear_members();
  for (const Formation::Founder& founder : decided.founders()) {
    if (founder.uuid() != options_.uuid) identity_.add_members(founder.address());
  }
  conflict_.clear();
  Write();
}

void Bootstrap::OnJoined(const Identity& identity) {
  identity_ = identity;
  Write();
}

std::optional<Bootstrap::Identity> Bootstrap::TakeWrite() {
  if (!std::exchange(write_, false)) return std::nullopt;
  return identity_;
}

Bootstrap::State Bootstrap::state() const {
  if (is_member()) return State::kMember;
  if (has_promised() && identity_.formation().cluster_id() != join_cluster_) return State::kWaiting;
  if (!join_cluster_.empty() && !has_conflict()) return State::kJoin;
  return State::kWaiting;
}

std::vector<std::string> Bootstrap::join_at() const {
  std::vector<std::string> addresses;
  for (const auto& [address, contact] : contacts_) {
    if (contact.view.has_value() && contact.view->cluster_id() == join_cluster_ &&
        !join_cluster_.empty())
      addresses.push_back(address);
  }
  return addresses;
}

std::string Bootstrap::why() const {
  if (has_conflict()) return conflict_;
  if (is_member() || state() == State::kJoin) return "";
  if (is_former()) {
    return absl::StrCat("asked ", PartiesOf(identity_.formation()).size() - 1,
                        " other nodes to found a cluster with this one; ", promised_.size(),
                        " have agreed");
  }
  if (has_promised()) {
    std::string former;
    for (const Formation::Founder& founder : identity_.formation().founders()) {
      if (founder.uuid() == identity_.formation().former()) former = founder.address();
    }
    return absl::StrCat("agreed to found a cluster with the node at ", former,
                        ", which decides, and waits for it");
  }
  return join_cluster_.empty() ? WhyNotFounded() : "";
}

std::string Bootstrap::WhyNotFounded() const {
  if (was_ordered()) {
    return absl::StrCat("was told to join the cluster at ",
                        absl::StrJoin(identity_.members(), ", "),
                        ", and no node of one answers there");
  }
  if (options_.expected_size == 0 && contacts_.empty()) {
    return "waiting to be told which cluster to join: mqttctl cluster join ADDRESS:PORT (there are "
           "neither seeds nor expected_size)";
  }
  if (options_.expected_size == 0)
    return "no cluster to join was found, and expected_size, with which one is founded, is not set";
  const size_t nodes = FreeNodes().size() + 1;
  size_t had = 0;
  size_t all = 0;
  std::string words = "waiting for the node that founds the cluster";
  if (nodes < options_.expected_size) {
    words = absl::StrCat("waiting for ", options_.expected_size - nodes, " more of ",
                         options_.expected_size, " nodes that found the cluster");
  } else if (!HasMostSeeds(had, all)) {
    words = absl::StrCat("only ", had, " of ", all,
                         " seeds answer and are free, and more than half have to before a cluster "
                         "is founded");
  }
  std::vector<std::string> silent;
  for (const auto& [address, contact] : contacts_) {
    if (!Fresh(contact)) {
      silent.push_back(address);
    } else if (IsFree(*contact.view) && contact.view->uuid() != options_.uuid &&
               contact.view->expected_size() != options_.expected_size) {
      absl::StrAppend(&words, "; the node at ", address, " expects ",
                      contact.view->expected_size());
    }
  }
  if (!silent.empty()) absl::StrAppend(&words, "; no answer from ", absl::StrJoin(silent, ", "));
  if (!given_up_why_.empty()) absl::StrAppend(&words, "; last time: ", given_up_why_);
  return words;
}

}  // namespace cluster
