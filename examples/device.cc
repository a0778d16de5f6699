// A device: stays connected, whatever happens to the connection, and prints what comes.
//   device mqtt://localhost device-1
#include <mqttd/client/client.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <iostream>
#include <string>

namespace client = mqttd::client;

int main(int argc, char** argv) {
  client::Options options;
  options.servers = {argc > 1 ? argv[1] : "mqtt://localhost"};
  options.session.client_id = argc > 2 ? argv[2] : "device-1";
  options.session.clean_start = false;      // Go on where the last connection ended …
  options.session.session_expiry_s = 3600;  // … if that is less than an hour ago.
  const std::string id = options.session.client_id;
  options.subscriptions = {{id + "/commands/#", {.qos = mqtt::QoS::kAtLeastOnce}}};

  boost::asio::io_context io;
  client::Client device(io.get_executor(), options);
  device.OnState([&](client::State state, const absl::Status& why) {
    if (state == client::State::kDisconnected) std::cout << "disconnected: " << why << std::endl;
    if (state != client::State::kConnected) return;
    std::cout << "connected" << std::endl;
    client::Message online;
    online.topic = id + "/status";
    online.payload = "online";
    online.qos = mqtt::QoS::kAtLeastOnce;
    device.AsyncPublish(online, [](absl::StatusOr<client::PublishResult> result) {
      std::cout << "status published: " << result.status() << std::endl;
    });
  });
  device.OnMessage([](const client::ReceivedMessage& message) {
    std::cout << message.topic << " " << message.payload << std::endl;
  });
  device.AsyncServe([&](absl::StatusOr<client::Client::Done> ended) {
    std::cout << "ended: " << ended.status() << std::endl;
    io.stop();
  });
  boost::asio::signal_set signals(io, SIGINT, SIGTERM);
  signals.async_wait([&](auto, int) { device.AsyncDisconnect([](auto) {}); });
  io.run();
}
