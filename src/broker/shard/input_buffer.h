// Bytes that came and cannot be used yet: the beginning of a packet, or what was read before a
// pause.
#ifndef BROKER_INPUT_BUFFER_H_
#define BROKER_INPUT_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/memory_account.h"
#include "mqtt/types.h"

namespace broker {

// One connection's; one pointer while it is empty, as nearly all are. Filled by its shard's
// InputBuffers.
class InputBuffer {
 public:
  InputBuffer() = default;
  InputBuffer(InputBuffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  InputBuffer& operator=(InputBuffer&&) = delete;
  ~InputBuffer();

  bool empty() const { return block_ == nullptr; }
  mqtt::Bytes bytes() const {
    return block_ == nullptr ? mqtt::Bytes() : mqtt::Bytes(block_->bytes(), block_->size);
  }
  size_t size() const { return block_ == nullptr ? 0 : block_->size; }
  // Of the memory it takes.
  size_t held_bytes() const { return block_ == nullptr ? 0 : sizeof(Block) + block_->capacity; }

  // It holds one packet that is not complete, and nothing else.
  bool half_sent() const { return block_ != nullptr && !block_->unread; }
  uint32_t begun_tick() const { return block_->begun_tick; }

 private:
  friend class InputBuffers;
  struct Block {
    Block* before;  // In the order in which they began.
    Block* after;
    uint64_t connection;
    uint32_t size;
    uint32_t capacity;
    uint32_t begun_tick;
    bool unread;  // Any number of packets, not looked at because reading was paused.
    uint8_t* bytes() { return reinterpret_cast<uint8_t*>(this + 1); }
  };

  Block* block_ = nullptr;
};

// All of a shard's, in its account of memory. Used on the shard's thread.
class InputBuffers {
 public:
  explicit InputBuffers(base::MemoryAccount& account) : account_(account) {}
  InputBuffers(const InputBuffers&) = delete;
  InputBuffers& operator=(const InputBuffers&) = delete;

  struct Origin {
    uint64_t connection = 0;
    uint32_t tick = 0;
    bool unread = false;  // See InputBuffer::Block.
  };

  // Adds bytes of a packet that will have `packet_bytes` in all; 0: not known yet. No more room is
  // made than the packet needs, and little more than has come: a header that announces a large
  // packet costs nothing. Cost: each byte is copied once, and again as often as its room doubles.
  void Append(InputBuffer& buffer, mqtt::Bytes bytes, size_t packet_bytes, const Origin& origin);
  // The bytes, which are not in the account any more: to be used, and freed, at once.
  InputBuffer Take(InputBuffer& buffer);
  void Clear(InputBuffer& buffer) { Take(buffer); }
  // It was we who did not read: the time that its packet may take begins again.
  void Restart(InputBuffer& buffer, uint32_t now_tick) {
    if (!buffer.empty()) buffer.block_->begun_tick = now_tick;
  }

  int64_t held_bytes() const { return account_.bytes(base::MemoryUse::kInput); }

  // Calls visit(connection, held bytes, tick at which it began), those that began first coming
  // first.
  template <typename Visit>
  void ForEach(Visit&& visit) const {
    for (const InputBuffer::Block* block = first_; block != nullptr; block = block->after) {
      visit(block->connection, sizeof(InputBuffer::Block) + block->capacity, block->begun_tick);
    }
  }

 private:
  using Block = InputBuffer::Block;
  void Link(Block& block);
  void Relink(Block& block);
  void Unlink(const Block& block);
  void Count(int64_t bytes) { account_.Add(base::MemoryUse::kInput, bytes); }

  base::MemoryAccount& account_;
  Block* first_ = nullptr;
  Block* last_ = nullptr;
};

}  // namespace broker
#endif  // BROKER_INPUT_BUFFER_H_
