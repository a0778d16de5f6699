// The work of pairs.h with libmosquitto: all clients in one epoll loop on one thread, which costs
// less than its own loop, a thread for each client.
#include <mosquitto.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "bench/client/pairs.h"

namespace {

struct One {
  mosquitto* handle = nullptr;
  int pair = 0;
  bool publisher = false;
  bool wants_write = false;
};

struct Load {
  pairs::Arguments arguments;
  pairs::Measurement measurement;
  std::string payload;
  int ready = 0;  // Subscriptions that are made, and publishers that are connected.
};
Load load;

void Publish(const One& one) {
  if (mosquitto_publish(one.handle, nullptr, pairs::TopicOf(one.pair).c_str(),
                        static_cast<int>(load.payload.size()), load.payload.data(), 1,
                        false) != MOSQ_ERR_SUCCESS) {
    pairs::GiveUp("a publish failed");
  }
}

void OnConnect(mosquitto* handle, void* context, int code) {
  const One& one = *static_cast<One*>(context);
  if (code != 0) pairs::GiveUp("cannot connect");
  if (one.publisher) {
    ++load.ready;
  } else {
    mosquitto_subscribe(handle, nullptr, pairs::TopicOf(one.pair).c_str(), 1);
  }
}
void OnSubscribe(mosquitto*, void*, int, int, const int*) { ++load.ready; }
void OnMessage(mosquitto*, void*, const mosquitto_message*) { load.measurement.Arrived(); }
void OnPublish(mosquitto*, void* context, int) { Publish(*static_cast<One*>(context)); }

class Loop {
 public:
  Loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    const auto count = static_cast<size_t>(2 * load.arguments.pairs);
    clients_.resize(count);
    for (size_t i = 0; i < count; ++i) Add(clients_[i], i);
  }

  void RunUntil(pairs::Clock::time_point end, int ready) {
    epoll_event events[256];
    while (pairs::Clock::now() < end && load.ready < ready) {
      for (One& one : clients_) Watch(one);
      const int count = epoll_wait(epoll_, events, 256, 100);
      for (int i = 0; i < count; ++i) {
        One& one = *static_cast<One*>(events[i].data.ptr);
        if ((events[i].events & EPOLLIN) != 0) mosquitto_loop_read(one.handle, 1);
        if ((events[i].events & EPOLLOUT) != 0) mosquitto_loop_write(one.handle, 1);
      }
    }
  }

  void Start() {
    for (One& one : clients_) {
      for (int i = 0; one.publisher && i < load.arguments.window; ++i) Publish(one);
    }
  }

 private:
  void Add(One& one, size_t number) {
    one.publisher = number % 2 == 1;
    one.pair = static_cast<int>(number / 2);
    one.handle = mosquitto_new(nullptr, true, &one);
    mosquitto_connect_callback_set(one.handle, OnConnect);
    mosquitto_subscribe_callback_set(one.handle, OnSubscribe);
    mosquitto_message_callback_set(one.handle, OnMessage);
    mosquitto_publish_callback_set(one.handle, OnPublish);
    mosquitto_int_option(one.handle, MOSQ_OPT_SEND_MAXIMUM, 1000);
    mosquitto_int_option(one.handle, MOSQ_OPT_TCP_NODELAY, 1);
    if (mosquitto_connect(one.handle, "127.0.0.1", load.arguments.port, 60) != MOSQ_ERR_SUCCESS) {
      pairs::GiveUp("cannot connect");
    }
    epoll_event event{.events = EPOLLIN, .data = {.ptr = &one}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, mosquitto_socket(one.handle), &event);
  }

  // What a callback has queued is to be written when the socket takes it.
  void Watch(One& one) {
    const bool wants_write = mosquitto_want_write(one.handle);
    if (wants_write == one.wants_write) return;
    one.wants_write = wants_write;
    epoll_event event{.events = EPOLLIN, .data = {.ptr = &one}};
    if (wants_write) event.events |= EPOLLOUT;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, mosquitto_socket(one.handle), &event);
  }

  const int epoll_;
  std::vector<One> clients_;
};

}  // namespace

int main(int argc, char** argv) {
  load.arguments = pairs::Parse(argc, argv);
  load.payload.assign(static_cast<size_t>(load.arguments.payload_bytes), 'x');
  mosquitto_lib_init();
  Loop loop;
  const int all = 2 * load.arguments.pairs;
  loop.RunUntil(pairs::Clock::now() + std::chrono::seconds(30), all);
  if (load.ready < all) pairs::GiveUp("not all are connected");
  loop.Start();
  loop.RunUntil(pairs::Clock::now() + pairs::kWarmUp, all + 1);
  load.measurement.Begin();
  loop.RunUntil(pairs::Clock::now() + std::chrono::duration_cast<pairs::Clock::duration>(
                                          std::chrono::duration<double>(load.arguments.seconds)),
                all + 1);
  load.measurement.End("mosquitto");
  std::_Exit(0);
}
