// Bytes on their way to one connection: filled during a turn, written once at the end of it.
#ifndef BROKER_OUTPUT_QUEUE_H_
#define BROKER_OUTPUT_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "broker/core/stream.h"
#include "mqtt/message.h"

namespace broker {

// A shard's free chunks and queue objects, so that output allocates nothing in the steady state.
// Keeps at most `kFreeBytesMax`. Used on the shard's thread.
class BufferPool {
 public:
  static constexpr size_t kChunkBytes = 8 * 1024;
  static constexpr size_t kFreeBytesMax = 16 * 1024 * 1024;

  struct Chunk {
    uint32_t capacity = 0;
    uint32_t used = 0;
    uint8_t* bytes() { return reinterpret_cast<uint8_t*>(this + 1); }
  };

  BufferPool();
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // At least `size` bytes in one piece.
  Chunk* Take(size_t size);
  void Give(Chunk* chunk);

  // Of all chunks that exist, in queues or free.
  int64_t held_bytes() const { return held_bytes_; }

 private:
  friend class OutputQueue;
  // The segments of one queue, in order: pieces of chunks, and references into messages.
  struct Segments {
    struct Segment {
      const uint8_t* begin = nullptr;
      size_t size = 0;
      // Given back with the segment. Null for a reference, and where a later segment has the rest
      // of the chunk.
      Chunk* chunk = nullptr;
      mqtt::MessagePtr message;
    };
    std::vector<Segment> list;
    size_t first = 0;  // Those before it are written.
    size_t bytes = 0;

    bool empty() const { return first == list.size(); }
  };

  int64_t held_bytes_ = 0;
  std::vector<Chunk*> free_;
  std::vector<std::unique_ptr<Segments>> free_segments_;
};

// Part of a connection. An idle connection's is one null pointer.
class OutputQueue {
 public:
  OutputQueue();
  ~OutputQueue();
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;

  bool empty() const { return segments_ == nullptr; }
  size_t bytes() const { return segments_ == nullptr ? 0 : segments_->bytes; }
  // Bytes since the connection began: of all that was put in, and of what left.
  uint64_t appended() const { return appended_; }
  uint64_t written() const { return appended_ - bytes(); }

  // Room for `size` bytes in one piece, to be written at once and followed by Commit(how many
  // were).
  uint8_t* Reserve(BufferPool& pool, size_t size) {
    if (segments_ == nullptr || segments_->empty()) return ReserveChunk(pool, size);
    BufferPool::Chunk* const last = segments_->list.back().chunk;
    if (last == nullptr) return ReserveBehindReference(pool, size);
    if (last->capacity - last->used < size) return ReserveChunk(pool, size);
    return last->bytes() + last->used;
  }
  void Commit(size_t size) {
    auto& segment = segments_->list.back();
    DCHECK(segment.chunk->used + size <= segment.chunk->capacity)
        << "more was written than reserved";
    segment.chunk->used += static_cast<uint32_t>(size);
    segment.size += size;
    segments_->bytes += size;
    appended_ += size;
  }
  void Append(BufferPool& pool, std::string_view bytes);

  // Bytes of a message that is kept until they are written: for payloads too large to copy.
  void AppendReference(BufferPool& pool, const mqtt::MessagePtr& message, std::string_view bytes);

  // Writes what the stream takes. kOk: the queue is empty.
  IoState Flush(BufferPool& pool, Stream& stream);

  void Clear(BufferPool& pool);

 private:
  BufferPool::Segments& Use(BufferPool& pool);
  uint8_t* ReserveChunk(BufferPool& pool, size_t size);
  uint8_t* ReserveBehindReference(BufferPool& pool, size_t size);
  // What came of it, and how many bytes they were.
  std::pair<WriteResult, size_t> Offer(Stream& stream) const;
  void Consume(BufferPool& pool, size_t bytes);

  std::unique_ptr<BufferPool::Segments> segments_;
  uint64_t appended_ = 0;
};

}  // namespace broker
#endif  // BROKER_OUTPUT_QUEUE_H_
