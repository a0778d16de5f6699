#ifndef TESTS_BROKER_TRANSPORT_DESCRIPTOR_LIMIT_H_
#define TESTS_BROKER_TRANSPORT_DESCRIPTOR_LIMIT_H_

#include <sys/resource.h>

namespace broker {

// The limit of descriptors, lowered while it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit now = {limit, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &now);
  }
  ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_;
};

}  // namespace broker
#endif  // TESTS_BROKER_TRANSPORT_DESCRIPTOR_LIMIT_H_
