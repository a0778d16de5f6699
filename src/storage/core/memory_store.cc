#include "storage/core/memory_store.h"

namespace storage {
namespace {

class MemoryIterator : public StateIterator {
 public:
  MemoryIterator(const MemoryStore::Map& map, std::string_view lower, std::string_view upper)
      : map_(map), lower_(lower), upper_(upper), at_(map.end()) {}

  bool Valid() const override { return at_ != map_.end(); }
  void Seek(std::string_view key) override {
    Settle(map_.lower_bound(key < lower_ ? std::string_view(lower_) : key));
  }
  void SeekForPrev(std::string_view key) override {
    auto next = key < upper_ ? map_.upper_bound(key) : map_.lower_bound(upper_);
    Settle(next == map_.begin() ? map_.end() : std::prev(next));
  }
  void Next() override { Settle(std::next(at_)); }
  std::string_view key() const override { return at_->first; }
  std::string_view value() const override { return at_->second; }
  absl::Status status() const override { return absl::OkStatus(); }

 private:
  void Settle(MemoryStore::Map::const_iterator at) {
    const bool within = at != map_.end() && at->first >= lower_ && at->first < upper_;
    at_ = within ? at : map_.end();
  }

  const MemoryStore::Map& map_;
  const std::string lower_;
  const std::string upper_;
  MemoryStore::Map::const_iterator at_;
};

}  // namespace

void MemoryBatch::Put(std::string_view key, std::string_view value) {
  changes_.push_back({Kind::kPut, std::string(key), std::string(value)});
}

void MemoryBatch::Delete(std::string_view key) {
  changes_.push_back({Kind::kDelete, std::string(key), {}});
}

void MemoryBatch::DeleteRange(std::string_view lower, std::string_view upper) {
  changes_.push_back({Kind::kDeleteRange, std::string(lower), std::string(upper)});
}

void MemoryStore::Write(const MemoryBatch& batch) {
  for (const MemoryBatch::Change& change : batch.changes_) {
    switch (change.kind) {
      case MemoryBatch::Kind::kPut:
        map_.insert_or_assign(change.key, change.value);
        break;
      case MemoryBatch::Kind::kDelete:
        map_.erase(change.key);
        break;
      case MemoryBatch::Kind::kDeleteRange:
        map_.erase(map_.lower_bound(change.key), map_.lower_bound(change.value));
        break;
    }
  }
}

absl::StatusOr<bool> MemoryStore::Get(std::string_view key, std::string& value) const {
  const auto found = map_.find(key);
  if (found == map_.end()) return false;
  value = found->second;
  return true;
}

std::unique_ptr<StateIterator> MemoryStore::NewIterator(std::string_view lower,
                                                        std::string_view upper) const {
  return std::make_unique<MemoryIterator>(map_, lower, upper);
}

}  // namespace storage
