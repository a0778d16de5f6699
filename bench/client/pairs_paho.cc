// The work of pairs.h with the Paho C client, asynchronous: its two threads serve all clients.
#include <MQTTAsync.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/client/pairs.h"

namespace {

struct One {
  MQTTAsync handle = nullptr;
  int pair = 0;
  std::string topic;
};

struct Load {
  pairs::Arguments arguments;
  pairs::Measurement measurement;
  std::string payload;
  std::atomic<int> ready{0};
};
Load load;

void Publish(One& one);
void OnPublished(void* context, MQTTAsync_successData*) { Publish(*static_cast<One*>(context)); }
void OnFailure(void*, MQTTAsync_failureData*) { pairs::GiveUp("an operation failed"); }
void OnReady(void*, MQTTAsync_successData*) { ++load.ready; }

void Publish(One& one) {
  MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
  options.onSuccess = OnPublished;
  options.onFailure = OnFailure;
  options.context = &one;
  MQTTAsync_send(one.handle, one.topic.c_str(), static_cast<int>(load.payload.size()),
                 load.payload.data(), 1, 0, &options);
}

void OnSubscriberConnected(void* context, MQTTAsync_successData*) {
  One& one = *static_cast<One*>(context);
  MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
  options.onSuccess = OnReady;
  options.onFailure = OnFailure;
  options.context = &one;
  MQTTAsync_subscribe(one.handle, one.topic.c_str(), 1, &options);
}

int OnMessage(void*, char* topic, int, MQTTAsync_message* message) {
  load.measurement.Arrived();
  MQTTAsync_freeMessage(&message);
  MQTTAsync_free(topic);
  return 1;
}

void Connect(One& one, bool publisher, int number) {
  const std::string server = "tcp://127.0.0.1:" + std::to_string(load.arguments.port);
  const std::string id = "paho-" + std::to_string(number);
  MQTTAsync_create(&one.handle, server.c_str(), id.c_str(), MQTTCLIENT_PERSISTENCE_NONE, nullptr);
  MQTTAsync_setCallbacks(one.handle, &one, nullptr, OnMessage, nullptr);
  MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
  options.cleansession = 1;
  options.maxInflight = 1000;
  options.onSuccess = publisher ? OnReady : OnSubscriberConnected;
  options.onFailure = OnFailure;
  options.context = &one;
  if (MQTTAsync_connect(one.handle, &options) != MQTTASYNC_SUCCESS) pairs::GiveUp("cannot connect");
}

}  // namespace

int main(int argc, char** argv) {
  load.arguments = pairs::Parse(argc, argv);
  load.payload.assign(static_cast<size_t>(load.arguments.payload_bytes), 'x');
  const int all = 2 * load.arguments.pairs;
  std::vector<std::unique_ptr<One>> clients;
  for (int i = 0; i < all; ++i) {
    clients.push_back(std::make_unique<One>());
    clients.back()->pair = i / 2;
    clients.back()->topic = pairs::TopicOf(i / 2);
    Connect(*clients.back(), i % 2 == 1, i);
  }
  const auto give_up = pairs::Clock::now() + std::chrono::seconds(30);
  while (load.ready < all) {
    if (pairs::Clock::now() > give_up) pairs::GiveUp("not all are connected");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  for (int i = 1; i < all; i += 2) {
    for (int j = 0; j < load.arguments.window; ++j) Publish(*clients[static_cast<size_t>(i)]);
  }
  std::this_thread::sleep_for(pairs::kWarmUp);
  load.measurement.Begin();
  std::this_thread::sleep_for(std::chrono::duration<double>(load.arguments.seconds));
  load.measurement.End("paho");
  std::_Exit(0);
}
