#include "admin/api/client_pages.h"

#include <gtest/gtest.h>

#include <utility>

namespace admin {
namespace {

// A step behind others may find it so: that is not the end of the list.
TEST(ClientPages, OfABrokerThatIsClosedAreNoListsOfNobody) {
  const BrokerAccess broker({});
  absl::StatusOr<ClientsFound> found = absl::UnknownError("");
  FindClients(broker, {}, {}, 10, [&](auto said) { found = std::move(said); });
  EXPECT_TRUE(absl::IsUnavailable(found.status())) << found.status();
  absl::StatusOr<uint64_t> count = absl::UnknownError("");
  KickClients(broker, {}, {}, [&](auto said) { count = said; });
  EXPECT_TRUE(absl::IsUnavailable(count.status())) << count.status();
  count = absl::UnknownError("");
  RefreshClients(broker, {}, [&](auto said) { count = said; });
  EXPECT_TRUE(absl::IsUnavailable(count.status())) << count.status();
}

}  // namespace
}  // namespace admin
