// Counts what the program allocates: link test_allocation_counter, and it replaces operator new.
//   const size_t before = support::Allocations();
//   … the path that must not allocate …
//   EXPECT_EQ(support::Allocations() - before, 0u);
#ifndef TESTS_SUPPORT_ALLOCATION_COUNTER_H_
#define TESTS_SUPPORT_ALLOCATION_COUNTER_H_

#include <cstddef>

namespace support {

// Calls of operator new by this thread since it began.
size_t Allocations();

// False where not all are: a sanitizer's run-time library has its own forms of operator new.
bool AllocationsAreCounted();

}  // namespace support

#endif  // TESTS_SUPPORT_ALLOCATION_COUNTER_H_
