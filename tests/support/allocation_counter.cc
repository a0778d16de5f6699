#include "tests/support/allocation_counter.h"

#include <cstdlib>
#include <new>

namespace {
thread_local size_t allocations = 0;
}  // namespace

namespace support {
size_t Allocations() { return allocations; }

bool AllocationsAreCounted() {
  const size_t before = allocations;
  ::operator delete[](::operator new[](1));
  return allocations != before;
}
}  // namespace support

// Every other form ends in these, but for the over-aligned ones, which are not counted.
void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
