#include "admin/api/thread_answers.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace admin {

std::string ThreadAnswers::State::Silent() {
  base::MutexLock lock(mutex);
  const absl::Duration now = clock->Monotonic();
  std::vector<std::string> silent;
  for (const auto& [name, thread] : threads) {
    const absl::Duration since = now - thread.since;
    if (thread.waiting == 0 || since < kSilentAfter) continue;
    silent.push_back(absl::StrCat(name, " has not answered for ",
                                  std::floor(absl::ToDoubleSeconds(since)), " s"));
  }
  return absl::StrJoin(silent, ", ");
}

}  // namespace admin
