#include "admin/api/inside_clients.h"

#include <utility>

namespace admin {

std::shared_ptr<inside::Client> InsideClients::Make() const {
  return std::make_shared<inside::Client>([&broker = broker_](auto stream) {
    (void)broker.WithServer([&](broker::Server& server) {
      server.AdoptInside(std::move(stream));
      return absl::OkStatus();
    });
  });
}

std::shared_ptr<inside::Client> InsideClients::publisher() {
  base::MutexLock lock(mutex_);
  if (publisher_ == nullptr) publisher_ = Make();
  return publisher_;
}

void InsideClients::Retire(std::shared_ptr<inside::Client> client) {
  client->Close();
  base::MutexLock lock(mutex_);
  retired_.push_back(std::move(client));
}

void InsideClients::Tick() {
  std::vector<std::shared_ptr<inside::Client>> gone;
  base::MutexLock lock(mutex_);
  gone.swap(retired_);
}

void InsideClients::Stop() {
  std::shared_ptr<inside::Client> publisher;
  {
    base::MutexLock lock(mutex_);
    publisher.swap(publisher_);
  }
  if (publisher != nullptr) publisher->Close();
  publisher.reset();
  Tick();
}

}  // namespace admin
