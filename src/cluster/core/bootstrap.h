// How a node comes to its cluster: goes on in the one that it belongs to, joins one that it finds,
// or founds one with others. Two halves never found two.
//
// Founding is a promise of many, and a decision of one. The node with the least UUID among
// `expected_size` free ones writes down a formation: a new cluster id, who its founders are, and
// who else was there (its witnesses). Each of them promises itself to it, on its disk, and to no
// other one meanwhile. When all have, the former decides, on its disk, and whoever hears of that is
// a member, or joins. Until it has decided the former may give up, and only it: the others ask it.
// If its directory is lost, they are free again when all of them say that they have heard of no
// decision.
//
// They have to be more than half of the seeds, one's own address among these: so not each half of
// many nodes finds enough for a cluster.
#ifndef CLUSTER_CORE_BOOTSTRAP_H_
#define CLUSTER_CORE_BOOTSTRAP_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/rng.h"
#include "mqttd/cluster/v1/members.pb.h"

namespace cluster {

struct BootstrapOptions {
  std::string uuid;     // Of the data directory.
  uint64_t start = 0;   // Random, another at each start.
  std::string address;  // Where others reach this node.
  // Where others may be; its own address may be among them, and others are heard of.
  std::vector<std::string> seeds;
  uint32_t expected_size = 0;  // How many nodes found a cluster. 0: this one founds none.
  uint32_t partitions = 16;
  uint32_t replicas = 3;
  std::string zone;
  std::string release;
  uint32_t level_max = 0;

  absl::Duration asked_every = absl::Milliseconds(500);
  // What a node has said of itself holds for so long.
  absl::Duration heard_for = absl::Seconds(3);
  // A formation that has not all promises by then is given up.
  absl::Duration promised_within = absl::Seconds(15);
};

// Plain values in and out; used on one thread. What TakeWrite returns has to be on the disk,
// synced, before anything else that a call returned is sent or done.
class Bootstrap {
 public:
  using View = ::mqttd::cluster::v1::BootstrapView;
  using Identity = ::mqttd::cluster::v1::NodeIdentity;
  using Formation = ::mqttd::cluster::v1::Formation;

  struct Ask {
    std::string address;
    uint64_t number = 0;
    View view;
  };
  enum class State {
    kWaiting,  // `why` says for what.
    kMember,   // `identity` says of which cluster, and whether it is a founder.
    kJoin,     // A cluster is there, which is to be asked for admission at `join_at`.
  };

  Bootstrap(BootstrapOptions options, Identity identity, base::Rng rng);

  // Whom to ask now. Called at least every `asked_every`.
  std::vector<Ask> Tick(absl::Duration now);
  // The answer to an Ask. Each may be lost; an answer that comes after a later Ask to the same
  // address was sent is dropped.
  void OnAnswer(const std::string& address, uint64_t number, const View& view, absl::Duration now);
  // Another node asks, and says what it is. The answer.
  View OnAsked(const View& view, absl::Duration now);

  // An operator says where the cluster is: this node looks there, and no longer where it was told
  // to before. It founds none from then on, here or in a later process. Errors, in words:
  // kFailedPrecondition, it belongs to a cluster, or is about to found one with others;
  // kInvalidArgument, nobody but itself is there.
  absl::Status LookAt(const std::vector<std::string>& addresses);

  std::optional<Identity> TakeWrite();
  // What TakeWrite gave could not be written: it gives it again.
  void WriteAgain() { write_ = true; }

  State state() const;
  const Identity& identity() const { return identity_; }
  // The members' addresses that are known, of the cluster to join.
  std::vector<std::string> join_at() const;
  const std::string& join_cluster() const { return join_cluster_; }
  // That cluster has taken it in.
  void OnJoined(const Identity& identity);
  // In words: what is waited for, or what is wrong although the node goes on. Empty: nothing.
  std::string why() const;

  // Seeds have been resolved anew.
  void SetSeeds(std::vector<std::string> seeds);

 private:
  struct Contact {
    uint64_t number = 0;       // Of the last Ask.
    std::string asked_about;   // The cluster id of the formation that it spoke of.
    std::optional<View> view;  // What it answered last …
    absl::Duration heard;      // … and when.
    absl::Duration next_ask = -absl::InfiniteDuration();
  };
  static constexpr size_t kContactsMax = 256;
  static constexpr absl::Duration kConflictHeld = absl::Seconds(10);

  bool is_member() const { return !identity_.cluster_id().empty(); }
  // By an operator, where to look for a cluster.
  bool was_ordered() const { return !is_member() && identity_.members_size() != 0; }
  bool has_promised() const { return !is_member() && identity_.has_formation(); }
  bool is_former() const {
    return has_promised() && identity_.formation().former() == options_.uuid;
  }
  bool Fresh(const Contact& contact) const {
    return contact.view.has_value() && now_ - contact.heard <= options_.heard_for;
  }
  void Hear(const std::string& address);
  View MyView() const;
  void NoteCopies(const View& view);
  void OnView(const View& view);
  void OnMember(const View& view);
  void OnPromiseAsked(const View& view);
  std::string WhyNotPromised(const View& view) const;
  void OnFoundersAnswer(const std::string& address, const View& view);
  void FreeIfFormerIsLost();
  void FormIfDue();
  bool HasMostSeeds(size_t& had, size_t& all) const;
  std::vector<const View*> FreeNodes() const;
  std::string WhyNotFounded() const;
  bool has_conflict() const { return !conflict_.empty() && now_ - conflict_at_ < kConflictHeld; }
  void Conflict(std::string words) {
    conflict_ = std::move(words);
    conflict_at_ = now_;
  }
  Formation NewFormation(const std::vector<const View*>& others);
  void Promise(const Formation& formation);
  void Release();
  void Become(const Formation& formation);
  void Write() { write_ = true; }

  const BootstrapOptions options_;
  std::vector<std::string> seeds_;
  Identity identity_;
  base::Rng rng_;
  bool write_ = false;
  absl::Duration now_ = -absl::InfiniteDuration();  // The last that was given.
  std::map<std::string, Contact> contacts_;         // By address.
  uint64_t last_number_ = 0;
  std::string refusal_;  // Why the promise that was asked for last was not given.
  // ---- Of a former.
  std::set<std::string> promised_;  // UUIDs.
  absl::Duration give_up_at_ = absl::InfiniteDuration();
  absl::Duration next_formation_ = -absl::InfiniteDuration();
  std::string given_up_why_;
  // ---- Of another one that has promised.
  bool former_is_lost_ = false;
  std::set<std::string> undecided_;  // UUIDs of those that know of no decision since then.
  // ---- Of a free node.
  std::string join_cluster_;
  // ---- What should not be, and when it was seen last.
  std::string conflict_;
  absl::Duration conflict_at_;
};

}  // namespace cluster

#endif  // CLUSTER_CORE_BOOTSTRAP_H_
