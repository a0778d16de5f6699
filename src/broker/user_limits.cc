#include "broker/user_limits.h"

#include "base/check.h"

namespace broker {

bool UserLimits::Enter(const Place& place, uint32_t max) {
  const base::MutexLock lock(mutex_);
  Clients& clients = users_[place.user_name];
  const auto known = clients.find(place.client_id);
  if (known != clients.end()) {
    ++known->second;
    return true;
  }
  if (clients.size() >= max) {
    if (clients.empty()) users_.erase(place.user_name);
    return false;
  }
  clients.emplace(place.client_id, 1);
  return true;
}

void UserLimits::Leave(const Place& place) {
  const base::MutexLock lock(mutex_);
  const auto user = users_.find(place.user_name);
  CHECK(user != users_.end()) << "a user leaves who has not entered";
  const auto client = user->second.find(place.client_id);
  CHECK(client != user->second.end()) << "a client leaves that has not entered";
  if (--client->second == 0) user->second.erase(client);
  if (user->second.empty()) users_.erase(user);
}

size_t UserLimits::ClientsOf(const std::string& user_name) const {
  const base::MutexLock lock(mutex_);
  const auto user = users_.find(user_name);
  return user == users_.end() ? 0 : user->second.size();
}

size_t UserLimits::users() const {
  const base::MutexLock lock(mutex_);
  return users_.size();
}

}  // namespace broker
