// A broker whose users are looked up elsewhere. A slow look-up keeps only who waits for it.
//   authentication_backend mqtt://127.0.0.1:1883 DATA_DIR
#include <mqttd/embed/server.h>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <iostream>
#include <map>
#include <string>

// Stands for a database, a directory, an HTTP service.
class Users {
 public:
  bool Knows(const std::string& name, const std::string& password) const {
    const auto user = users_.find(name);
    return user != users_.end() && user->second == password;
  }

 private:
  const std::map<std::string, std::string> users_ = {{"ann", "apple"}, {"bob", "banana"}};
};

int main(int argc, char** argv) {
  const Users users;
  boost::asio::thread_pool pool(4);  // Look-ups may block these.
  mqttd::Options options;
  if (argc > 2) options.data_dir = argv[2];
  options.executor = [&](std::function<void()> task) { boost::asio::post(pool, std::move(task)); };
  options.hooks.authenticate = [&](const mqttd::ConnectionPtr&, const mqttd::Login& login,
                                   const mqttd::Reply<mqttd::LoginDecision>& reply) {
    const std::string name = login.user_name.value_or("");
    if (users.Knows(name, login.password.value_or("")))
      return reply(mqttd::LoginDecision::Allow(name));
    reply(mqttd::LoginDecision::Refuse(mqtt::ReasonCode::kBadUserNameOrPassword));
  };
  // Everybody may subscribe below the topic of the own name.
  options.hooks.on_subscribe = [](const mqttd::ConnectionPtr& client,
                                  const std::vector<mqttd::client::Subscription>& wanted,
                                  const mqttd::Reply<mqttd::SubscribeDecision>& reply) {
    mqttd::SubscribeDecision decision;
    for (const auto& each : wanted) {
      const bool own = each.filter.starts_with(client->user_name() + "/");
      decision.reasons.push_back(own ? mqtt::ReasonCode::kGrantedQos2
                                     : mqtt::ReasonCode::kNotAuthorized);
    }
    reply(decision);
  };
  mqttd::Server server(options);
  const absl::Status ended = server.ListenAndServe(argc > 1 ? argv[1] : "mqtt://127.0.0.1:1883");
  std::cerr << ended << std::endl;
  return mqttd::IsServerClosed(ended) ? 0 : 1;
}
