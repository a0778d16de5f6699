// A state store in memory: for tests and the simulator.
#ifndef STORAGE_CORE_MEMORY_STORE_H_
#define STORAGE_CORE_MEMORY_STORE_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/core/kv.h"

namespace storage {

// Changes in their order, to be written to a MemoryStore.
class MemoryBatch : public StateBatch {
 public:
  void Put(std::string_view key, std::string_view value) override;
  void Delete(std::string_view key) override;
  void DeleteRange(std::string_view lower, std::string_view upper) override;
  size_t bytes() const {
    size_t sum = 0;
    for (const Change& change : changes_) sum += change.key.size() + change.value.size();
    return sum;
  }
  void Clear() { changes_.clear(); }
  size_t size() const { return changes_.size(); }

 private:
  friend class MemoryStore;
  enum class Kind { kPut, kDelete, kDeleteRange };
  struct Change {
    Kind kind;
    std::string key;
    std::string value;  // kDeleteRange: the upper bound.
  };
  std::vector<Change> changes_;
};

class MemoryStore : public StateReader {
 public:
  using Map = std::map<std::string, std::string, std::less<>>;

  void Write(const MemoryBatch& batch);

  absl::StatusOr<bool> Get(std::string_view key, std::string& value) const override;
  // Sees later writes too, and must not be used over one that deletes its key.
  std::unique_ptr<StateIterator> NewIterator(std::string_view lower,
                                             std::string_view upper) const override;

  const Map& map() const { return map_; }

 private:
  Map map_;
};

}  // namespace storage

#endif  // STORAGE_CORE_MEMORY_STORE_H_
