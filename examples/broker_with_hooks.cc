// A broker that stamps what is published, keeps "secret/" to itself, and publishes on its own.
//   broker_with_hooks mqtt://127.0.0.1:1883 DATA_DIR
#include <mqttd/embed/server.h>

#include <csignal>
#include <iostream>
#include <memory>
#include <string>

using mqttd::ConnectionPtr;

int main(int argc, char** argv) {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGINT);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);  // Before there are threads.

  mqttd::Options options;
  options.listeners = {{.url = argc > 1 ? argv[1] : "mqtt://127.0.0.1:1883"}};
  if (argc > 2) options.data_dir = argv[2];
  options.executor = mqttd::InlineExecutor();  // These never block.
  options.hooks.on_publish = [](const ConnectionPtr& from, const mqttd::Message& message,
                                const auto& reply) {
    if (message.topic.starts_with("secret/")) return reply(mqttd::PublishDecision::Refuse());
    mqttd::Message stamped = message;
    std::shared_ptr<int> count = from->Context<int>();
    if (count == nullptr)
      from->SetContext(count = std::make_shared<int>(0));  // Its first, or will.
    const int number = ++*count;
    stamped.user_properties.push_back({"number", std::to_string(number)});
    reply(mqttd::PublishDecision::Change(stamped));
  };
  options.hooks.on_disconnect = [](const ConnectionPtr& client, const std::string& why) {
    std::cout << client->client_id() << " left: " << why << std::endl;
  };

  mqttd::Server server(options);
  if (const absl::Status started = server.Start(); !started.ok()) {
    std::cerr << started << std::endl;
    return 1;
  }
  server.Subscribe({"ask", {}}, [&](const mqttd::client::ReceivedMessage& question) {
    server.Publish({.topic = "answer", .payload = "You said: " + question.payload});
  });
  std::cout << "listening on " << server.urls().front() << std::endl;
  int signal = 0;
  sigwait(&stop, &signal);
  const absl::Status written = server.Shutdown(absl::Seconds(5));
  std::cout << "ended: " << server.Wait() << std::endl;
  return written.ok() ? 0 : 1;
}
