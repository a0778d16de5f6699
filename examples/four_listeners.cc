// A server with four listeners: TCP, TLS, WebSocket and secure WebSocket.
//   four_listeners CERT_FILE KEY_FILE DATA_DIR [HOST]
#include <mqttd/embed/server.h>

#include <csignal>
#include <iostream>
#include <string>
#include <thread>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "four_listeners CERT_FILE KEY_FILE DATA_DIR [HOST]" << std::endl;
    return 2;
  }
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGINT);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);  // Before there are threads.

  const std::string cert = argv[1], key = argv[2];
  const std::string host = argc > 4 ? argv[4] : "127.0.0.1:0";  // Port 0: any that is free.
  mqttd::Options options;
  options.data_dir = argv[3];
  options.settings = {{"auth.allow_anonymous", "true"}};
  options.listeners = {{.url = "mqtt://" + host},
                       {.url = "mqtts://" + host, .cert_file = cert, .key_file = key},
                       {.url = "ws://" + host},
                       {.url = "wss://" + host, .cert_file = cert, .key_file = key}};
  mqttd::Server server(options);
  if (const absl::Status started = server.Start(); !started.ok()) {
    std::cerr << started << std::endl;
    return 1;
  }
  for (const std::string& url : server.urls()) std::cout << url << std::endl;
  std::cout << "ready" << std::endl;
  std::thread stopper([&] {
    int signal = 0;
    sigwait(&stop, &signal);
    static_cast<void>(server.Shutdown(absl::Seconds(5)));
  });
  const absl::Status ended = server.Wait();
  stopper.join();
  std::cout << ended << std::endl;
  return mqttd::IsServerClosed(ended) ? 0 : 1;
}
