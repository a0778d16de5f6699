// Lists of sessions: what one task on the host's thread looks at is bounded, whatever is stored.
#include "storage/leader/session_view.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/leader/host.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

class SessionPages : public HostTest {
 protected:
  void AddSessions(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const std::string name = absl::StrCat("s", i);
      Open(name);
      Close(name);
      names_.insert(name);
    }
  }
  // All pages, each as the one before says.
  std::vector<SessionPage> Pages(const SessionQuery& query, size_t sessions_max) {
    std::vector<SessionPage> pages;
    SessionPlace place;
    do {
      pages.push_back(LookAtSessions(sim_.core().node(), query, place, sessions_max));
      place = pages.back().next.value_or(SessionPlace());
    } while (pages.back().next.has_value());
    return pages;
  }

  std::multiset<std::string> names_;
};

TEST_F(SessionPages, OfWhatIsMeantATaskCopiesAFew) {
  AddSessions(kSessionsFoundMax * 2 + 10);
  std::multiset<std::string> found;
  const std::vector<SessionPage> pages = Pages({}, 1000);
  for (const SessionPage& page : pages) {
    EXPECT_LE(page.sessions.size(), kSessionsFoundMax);
    for (const SessionView& view : page.sessions) found.insert(view.client_id);
  }
  EXPECT_EQ(found, names_);
  EXPECT_THAT(pages, testing::SizeIs(3));
}

TEST_F(SessionPages, OfWhatIsNotMeantATaskLooksAtSomeHundreds) {
  AddSessions(kSessionsLookedMax + 10);
  SessionQuery query;
  query.client_id = "nobody*";
  const std::vector<SessionPage> pages = Pages(query, 1000);
  for (const SessionPage& page : pages) EXPECT_THAT(page.sessions, testing::IsEmpty());
  EXPECT_THAT(pages, testing::SizeIs(2));
}

TEST_F(SessionPages, AreNoLongerThanIsAskedFor) {
  AddSessions(10);
  for (const SessionPage& page : Pages({}, 3)) EXPECT_LE(page.sessions.size(), 3u);
}

}  // namespace
}  // namespace storage
