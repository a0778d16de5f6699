#include "broker/shard/input_buffer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/check.h"

namespace broker {

InputBuffer::~InputBuffer() { std::free(block_); }

void InputBuffers::Append(InputBuffer& buffer, mqtt::Bytes bytes, size_t packet_bytes,
                          const Origin& origin) {
  const size_t size = buffer.size() + bytes.size();
  Block* block = buffer.block_;
  if (block == nullptr || size > block->capacity) {
    const size_t doubled = block == nullptr ? size : 2 * size_t{block->capacity};
    const size_t wanted = packet_bytes == 0 ? doubled : std::min(doubled, packet_bytes);
    const size_t capacity = std::max(size, wanted);
    const bool fresh = block == nullptr;
    if (!fresh) Unlink(*block);
    const auto held_before = static_cast<int64_t>(buffer.held_bytes());
    // Large blocks are moved by the kernel's page tables, without a copy.
    block = static_cast<Block*>(std::realloc(block, sizeof(Block) + capacity));
    // As operator new does: the process ends with the words that it has for that.
    if (const auto handler = std::get_new_handler(); block == nullptr && handler != nullptr)
      handler();
    CHECK(block != nullptr) << "out of memory for " << capacity << " bytes of a packet";
    if (fresh) {
      *block = Block{.before = nullptr,
                     .after = nullptr,
                     .connection = origin.connection,
                     .size = 0,
                     .capacity = 0,
                     .begun_tick = origin.tick,
                     .unread = false};
    }
    block->capacity = static_cast<uint32_t>(capacity);
    buffer.block_ = block;
    fresh ? Link(*block) : Relink(*block);
    Count(static_cast<int64_t>(buffer.held_bytes()) - held_before);
  }
  std::memcpy(block->bytes() + block->size, bytes.data(), bytes.size());
  block->size = static_cast<uint32_t>(size);
  block->unread = origin.unread;
}

InputBuffer InputBuffers::Take(InputBuffer& buffer) {
  if (!buffer.empty()) {
    Unlink(*buffer.block_);
    Count(-static_cast<int64_t>(buffer.held_bytes()));
  }
  return std::move(buffer);
}

// At the end: it began last.
void InputBuffers::Link(Block& block) {
  block.before = last_;
  block.after = nullptr;
  Relink(block);
}

// In the place that it names.
void InputBuffers::Relink(Block& block) {
  (block.before == nullptr ? first_ : block.before->after) = &block;
  (block.after == nullptr ? last_ : block.after->before) = &block;
}

void InputBuffers::Unlink(const Block& block) {
  (block.before == nullptr ? first_ : block.before->after) = block.after;
  (block.after == nullptr ? last_ : block.after->before) = block.before;
}

}  // namespace broker
