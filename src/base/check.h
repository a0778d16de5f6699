// CHECK: an invariant of ours, in words. Broken, the process stops: nobody else's data is at risk,
// and a restart is fast. What a peer or the world can cause is a Violation or a Status instead.
#ifndef BASE_CHECK_H_
#define BASE_CHECK_H_

#include <ostream>

namespace base {
namespace check_internal {

// Collects the words of one failed CHECK. The destructor prints them to stderr and aborts.
class Failure {
 public:
  Failure(const char* file, int line, const char* condition);
  Failure(const Failure&) = delete;
  Failure& operator=(const Failure&) = delete;
  [[noreturn]] ~Failure();

  std::ostream& stream() { return *stream_; }

 private:
  std::ostream* stream_;  // Never freed: the process is about to end.
};

// Turns the stream expression into void, binding weaker than <<, so that CHECK is a statement.
struct Voidify {
  void operator&(std::ostream& stream) const { (void)stream; }
};

}  // namespace check_internal
}  // namespace base

// CHECK(condition) << "in words": in every build. The words are evaluated only on failure.
#define CHECK(condition)                            \
  (condition) ? static_cast<void>(0)                \
              : ::base::check_internal::Voidify() & \
                    ::base::check_internal::Failure(__FILE__, __LINE__, #condition).stream()

// DCHECK: where the test costs too much for release builds. There it is compiled, never evaluated.
#ifdef NDEBUG
#define DCHECK(condition) CHECK(true || (condition))
#else
#define DCHECK(condition) CHECK(condition)
#endif

#endif  // BASE_CHECK_H_
