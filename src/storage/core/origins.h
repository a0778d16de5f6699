// How far the requests of each of a partition's askers are applied.
#ifndef STORAGE_CORE_ORIGINS_H_
#define STORAGE_CORE_ORIGINS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/core/range_set.h"

namespace mqttd::storage::v1 {
class Meta;
}  // namespace mqttd::storage::v1

namespace storage {

// Part of a partition's state: a request that is asked for again, because its asker does not know
// what became of it, is applied once. Requests that were passed over (refused, or nothing of them
// had to be stored) are remembered as holes, as long as they may be asked for again: such a one is
// no repeat. Few origins; bounded by what each of them keeps (RequestStreams).
class Origins {
 public:
  // Request `sequence` of `origin` is being applied. False: it is applied already.
  bool Take(uint64_t origin, uint64_t sequence);
  bool IsApplied(uint64_t origin, uint64_t sequence) const;
  // Nothing below is asked for again.
  void ForgetBelow(uint64_t origin, uint64_t sequence);
  // The first hole; 0: there is none.
  uint64_t FirstHole(uint64_t origin) const;

  bool empty() const { return origins_.empty(); }
  void Clear() { origins_.clear(); }

  void WriteTo(::mqttd::storage::v1::Meta& meta) const;
  absl::Status ReadFrom(const ::mqttd::storage::v1::Meta& meta);
  std::string Dump() const;

 private:
  struct Origin {
    uint64_t number = 0;
    uint64_t last = 0;
    RangeSet holes;
  };
  const Origin* Find(uint64_t number) const;
  Origin& At(uint64_t number);

  std::vector<Origin> origins_;  // By number.
};

}  // namespace storage

#endif  // STORAGE_CORE_ORIGINS_H_
