#include "broker/shard/output_queue.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/check.h"

namespace broker {

BufferPool::BufferPool() = default;

BufferPool::~BufferPool() {
  for (Chunk* chunk : free_) std::free(chunk);
}

BufferPool::Chunk* BufferPool::Take(size_t size) {
  if (size <= kChunkBytes && !free_.empty()) {
    Chunk* const chunk = free_.back();
    free_.pop_back();
    chunk->used = 0;
    return chunk;
  }
  const size_t capacity = std::max(size, kChunkBytes);
  void* const memory = std::malloc(sizeof(Chunk) + capacity);
  // As operator new does: the process ends with the words that it has for that.
  if (const auto handler = std::get_new_handler(); memory == nullptr && handler != nullptr)
    handler();
  CHECK(memory != nullptr) << "out of memory for " << capacity << " bytes of output";
  Chunk* const chunk = new (memory) Chunk;
  chunk->capacity = static_cast<uint32_t>(capacity);
  held_bytes_ += static_cast<int64_t>(sizeof(Chunk) + capacity);
  return chunk;
}

void BufferPool::Give(Chunk* chunk) {
  if (chunk->capacity == kChunkBytes && free_.size() < kFreeBytesMax / kChunkBytes) {
    free_.push_back(chunk);
  } else {
    held_bytes_ -= static_cast<int64_t>(sizeof(Chunk) + chunk->capacity);
    std::free(chunk);
  }
}

OutputQueue::OutputQueue() = default;

OutputQueue::~OutputQueue() {
  if (segments_ == nullptr) return;
  for (auto& segment : segments_->list) std::free(segment.chunk);
}

BufferPool::Segments& OutputQueue::Use(BufferPool& pool) {
  if (segments_ != nullptr) return *segments_;
  if (pool.free_segments_.empty()) {
    segments_ = std::make_unique<BufferPool::Segments>();
  } else {
    segments_ = std::move(pool.free_segments_.back());
    pool.free_segments_.pop_back();
  }
  return *segments_;
}

uint8_t* OutputQueue::ReserveChunk(BufferPool& pool, size_t size) {
  BufferPool::Segments& segments = Use(pool);
  BufferPool::Chunk* const chunk = pool.Take(size);
  segments.list.push_back({chunk->bytes(), 0, chunk, {}});
  return chunk->bytes();
}

// The heads of messages that are referred to share chunks: they are small, and a chunk for each
// would be eight times what there is to send.
uint8_t* OutputQueue::ReserveBehindReference(BufferPool& pool, size_t size) {
  auto& list = segments_->list;
  if (list.size() < 2) return ReserveChunk(pool, size);
  BufferPool::Chunk*& before = list[list.size() - 2].chunk;  // Null, if that is written.
  if (before == nullptr || before->capacity - before->used < size) return ReserveChunk(pool, size);
  BufferPool::Chunk* const chunk = std::exchange(before, nullptr);
  uint8_t* const place = chunk->bytes() + chunk->used;
  list.push_back({place, 0, chunk, {}});
  return place;
}

void OutputQueue::Append(BufferPool& pool, std::string_view bytes) {
  std::memcpy(Reserve(pool, bytes.size()), bytes.data(), bytes.size());
  Commit(bytes.size());
}

void OutputQueue::AppendReference(BufferPool& pool, const mqtt::MessagePtr& message,
                                  std::string_view bytes) {
  BufferPool::Segments& segments = Use(pool);
  segments.list.push_back(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), nullptr, message});
  segments.bytes += bytes.size();
  appended_ += bytes.size();
}

IoState OutputQueue::Flush(BufferPool& pool, Stream& stream) {
  while (segments_ != nullptr) {
    const auto [result, offered] = Offer(stream);
    if (result.state != IoState::kOk && result.state != IoState::kAgain) return result.state;
    const size_t written = result.state == IoState::kOk ? offered : result.bytes;
    Consume(pool, written);
    if (written < offered) return IoState::kAgain;
  }
  return IoState::kOk;
}

// Most queues have one segment: it needs no array.
std::pair<WriteResult, size_t> OutputQueue::Offer(Stream& stream) const {
  constexpr size_t kRangesMax = 64;
  const auto range_of = [](const BufferPool::Segments::Segment& segment) {
    return std::string_view(reinterpret_cast<const char*>(segment.begin), segment.size);
  };
  const auto& list = segments_->list;
  if (list.size() - segments_->first == 1) {
    const std::string_view range = range_of(list.back());
    return {stream.Write(&range, 1), range.size()};
  }
  std::string_view ranges[kRangesMax];
  size_t count = 0;
  size_t offered = 0;
  for (size_t i = segments_->first; i < list.size() && count < kRangesMax; ++i) {
    ranges[count] = range_of(list[i]);
    offered += ranges[count++].size();
  }
  return {stream.Write(ranges, count), offered};
}

void OutputQueue::Consume(BufferPool& pool, size_t bytes) {
  BufferPool::Segments& segments = *segments_;
  segments.bytes -= bytes;
  while (bytes > 0) {
    auto& segment = segments.list[segments.first];
    if (bytes < segment.size) {
      segment.begin += bytes;
      segment.size -= bytes;
      return;
    }
    bytes -= segment.size;
    if (segment.chunk != nullptr) pool.Give(segment.chunk);
    segment = {};
    ++segments.first;
  }
  if (segments.empty()) {
    Clear(pool);
  } else if (segments.first > 64 && segments.first * 2 > segments.list.size()) {
    segments.list.erase(segments.list.begin(),
                        segments.list.begin() + static_cast<ptrdiff_t>(segments.first));
    segments.first = 0;
  }
}

void OutputQueue::Clear(BufferPool& pool) {
  if (segments_ == nullptr) return;
  for (size_t i = segments_->first; i < segments_->list.size(); ++i) {
    if (segments_->list[i].chunk != nullptr) pool.Give(segments_->list[i].chunk);
  }
  segments_->list.clear();
  segments_->first = 0;
  segments_->bytes = 0;
  constexpr size_t kFreeSegmentsMax = 4096;
  if (segments_->list.capacity() <= 64 && pool.free_segments_.size() < kFreeSegmentsMax) {
    pool.free_segments_.push_back(std::move(segments_));
  }
  segments_.reset();
}

}  // namespace broker
