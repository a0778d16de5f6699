// A benchmark: coroutines that publish at QoS 1, and how many messages a second that makes.
//   benchmark mqtt://localhost 10000
#include <mqttd/client/client.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstdlib>
#include <iostream>

namespace asio = boost::asio;
namespace client = mqttd::client;

// Publishes while there is something left; several of these share the client and its window.
asio::awaitable<void> Publish(client::Client& device, int& left, int& running) {
  client::Message message;
  message.topic = "benchmark";
  message.payload = std::string(64, 'x');
  message.qos = mqtt::QoS::kAtLeastOnce;
  while (left-- > 0) {
    const auto result = co_await device.AsyncPublish(message, asio::use_awaitable);
    if (!result.ok()) std::cerr << result.status() << std::endl;
  }
  if (--running == 0) co_await device.AsyncDisconnect(asio::use_awaitable);
}

asio::awaitable<void> Run(client::Client& device, int messages) {
  const auto connected = co_await device.AsyncConnect(asio::use_awaitable);
  if (!connected.ok() || !connected->ok()) {
    std::cerr << connected.status() << std::endl;
    co_return;
  }
  int left = messages;
  int running = 16;
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 1; i < 16; ++i) {
    asio::co_spawn(co_await asio::this_coro::executor, Publish(device, left, running),
                   asio::detached);
  }
  co_await Publish(device, left, running);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
  std::cout << messages / taken.count() << " messages per second" << std::endl;
}

int main(int argc, char** argv) {
  asio::io_context io;
  client::Options options;
  options.servers = {argc > 1 ? argv[1] : "mqtt://localhost"};
  client::Client device(io.get_executor(), options);
  asio::co_spawn(io, Run(device, argc > 2 ? std::atoi(argv[2]) : 10'000), asio::detached);
  io.run();
}
