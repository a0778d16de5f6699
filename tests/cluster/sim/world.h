// Three whole nodes, and now and then one that joins them, their machines, the network between them
// and clients, in one thread and on virtual time, from one seed.
#ifndef TESTS_CLUSTER_SIM_WORLD_H_
#define TESTS_CLUSTER_SIM_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "tests/broker/shard/agenda.h"
#include "tests/cluster/sim/client.h"
#include "tests/cluster/sim/history.h"
#include "tests/cluster/sim/journal.h"
#include "tests/cluster/sim/machine.h"
#include "tests/cluster/sim/network.h"
#include "tests/cluster/sim/node.h"
#include "tests/support/fake_clock.h"

namespace simulator {

struct WorldOptions {
  uint64_t seed = 1;
  bool explain = false;
  Mutant mutant = Mutant::kNone;
  absl::Duration stormy = absl::Seconds(12);
};

struct Outcome {
  std::vector<std::string> failures;  // The first one is what to look at.
  std::map<std::string, uint64_t> known;
  uint64_t published = 0;
  uint64_t deliveries = 0;
  uint64_t deaths = 0;
  uint64_t elections = 0;
  uint64_t aside = 0;  // So often a node stepped aside.
  uint64_t digest = 0;
};

class World final : public Doors {
 public:
  explicit World(const WorldOptions& options);
  ~World() override;

  // A storm, then calm; what must be true by then.
  Outcome Run();

  // ---- Doors
  Door Connect() override;

 private:
  struct Place {
    std::unique_ptr<Machine> machine;
    std::unique_ptr<Node> process;
    uint64_t life = 0;  // Of the process; counts on over all machines.
    bool starting = false;
  };
  enum class Death { kProcess, kPower };

  void MakeClients();
  Place& AddPlace();
  void Boot(size_t place);
  void Join();
  void Kill(size_t place, Death death, absl::Duration down);
  void GiveUp(size_t place);
  void WaitForCluster();
  bool AllServe() const;
  size_t Alive() const;

  // ---- Weather
  void Storm();
  void SomethingHappens();
  void Isolate(size_t place);
  void CutOneWay();
  void Stop(size_t place);
  void LoseDisk();
  void TroubleDisk(size_t place);
  void SetWall(size_t place);
  void FillDisk(size_t place);
  void CheckGoesOn(size_t place);
  void Clear();

  // ---- Checks
  void CheckOwners(bool at_rest);
  void WatchOwners();
  void CheckRetained();
  void CheckReplicas();
  void CheckEnded();

  cluster::NodeId IdOf(size_t place) const { return places_[place].machine->id; }
  size_t AnyPlace() { return rng_.Below(places_.size()); }

  const WorldOptions world_options_;
  base::Rng rng_;
  support::FakeClock clock_;
  sim::Agenda agenda_{clock_};
  Journal journal_;
  History history_;
  Network network_;
  NodeOptions node_options_;
  std::vector<Place> places_;
  std::vector<std::unique_ptr<Client>> clients_;
  bool stormy_ = false;
  bool watching_ = false;
  bool jumped_ = false;  // A wall clock, while its machine was off.
  uint64_t last_life_ = 0;
  uint64_t deaths_ = 0;
  uint64_t elections_ = 0;
  uint64_t aside_ = 0;
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_WORLD_H_
