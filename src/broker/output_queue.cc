#include "broker/output_queue.h"

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

IoState OutputQueue::Flush(BufferPool& pool, Transport& transport) {
  constexpr size_t kRangesMax = 64;
  while (segments_ != nullptr) {
    iovec ranges[kRangesMax];
    size_t count = 0;
    size_t offered = 0;
    for (size_t i = segments_->first; i < segments_->list.size() && count < kRangesMax; ++i) {
      const auto& segment = segments_->list[i];
      ranges[count++] = {const_cast<uint8_t*>(segment.begin), segment.size};
      offered += segment.size;
    }
    const WriteResult result = transport.Write(ranges, count);
    if (result.state != IoState::kOk && result.state != IoState::kAgain) return result.state;
    const size_t written = result.state == IoState::kOk ? offered : result.bytes;
    Consume(pool, written);
    if (written < offered) return IoState::kAgain;
  }
  return IoState::kOk;
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
