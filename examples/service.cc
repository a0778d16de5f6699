// A service that answers requests, and a client that asks:
//   service mqtt://localhost serve
//   service mqtt://localhost ask 7
#include <mqttd/client/blocking_client.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <iostream>
#include <string>

namespace client = mqttd::client;

// Answers squares, until the broker does not want it any more.
int Serve(const client::Options& given) {
  client::Options options = given;
  options.subscriptions = {{"$share/squares/square", {.qos = mqtt::QoS::kAtLeastOnce}}};
  boost::asio::io_context io;
  client::Client service(io.get_executor(), options);
  service.OnRequest("square", [](const client::ReceivedMessage& request, client::Reply reply) {
    const long number = std::strtol(request.payload.c_str(), nullptr, 10);
    client::Message answer;
    answer.payload = std::to_string(number * number);
    reply(answer);
  });
  service.OnState([](client::State state, const absl::Status& why) {
    std::cout << (state == client::State::kConnected ? "serving " : "waiting ") << why << std::endl;
  });
  service.AsyncServe([](absl::StatusOr<client::Client::Done> ended) {
    std::cout << "ended: " << ended.status() << std::endl;
  });
  io.run();
  return 1;
}

int Ask(const client::Options& options, const std::string& number) {
  client::BlockingClient asking(options);
  client::Message request;
  request.topic = "square";
  request.payload = number;
  request.qos = mqtt::QoS::kAtLeastOnce;
  const auto connected = asking.Connect();
  const auto answer = asking.Request(request, absl::Seconds(10));
  std::cout << (answer.ok() ? answer->payload : answer.status().ToString()) << std::endl;
  return connected.ok() && answer.ok() ? 0 : 1;
}

int main(int argc, char** argv) {
  client::Options options;
  options.servers = {argc > 1 ? argv[1] : "mqtt://localhost"};
  if (argc > 3) return Ask(options, argv[3]);
  return Serve(options);
}
