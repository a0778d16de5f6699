// What happens in a run, line by line, for whoever wants to know why it failed.
#ifndef TESTS_CLUSTER_SIM_JOURNAL_H_
#define TESTS_CLUSTER_SIM_JOURNAL_H_

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/broker/shard/agenda.h"

namespace simulator {

class Journal {
 public:
  Journal(const sim::Agenda& agenda, bool tells)
      : agenda_(agenda), begin_ns_(agenda.now_ns()), tells_(tells) {}

  template <typename... Words>
  void Say(const Words&... words) const {
    if (!tells_) return;
    const std::string line = absl::StrCat(words...);
    std::printf("%10.3f ms  %s\n", static_cast<double>(agenda_.now_ns() - begin_ns_) / 1e6,
                line.c_str());
  }
  bool tells() const { return tells_; }

 private:
  const sim::Agenda& agenda_;
  const int64_t begin_ns_;
  const bool tells_;
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_JOURNAL_H_
