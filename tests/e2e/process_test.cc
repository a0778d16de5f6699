// mqttd as an operator meets it: exit codes, the ready line, reload, the service manager.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "tests/support/broker_process.h"
#include "tests/support/client.h"
#include "tests/support/wire.h"

namespace {

using support::BrokerOptions;
using support::BrokerProcess;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// The service manager's end of $NOTIFY_SOCKET: what to wait for, in place of sleeping.
class Manager {
 public:
  Manager() : name_("@mqttd-process-test-" + std::to_string(getpid())) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name_.data() + 1, name_.size() - 1);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size());
    EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    const timeval limit{.tv_sec = 60, .tv_usec = 0};  // Reached only by a failure.
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setenv("NOTIFY_SOCKET", name_.c_str(), 1);
  }
  ~Manager() {
    unsetenv("NOTIFY_SOCKET");
    close(fd_);
  }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  // The next one, but for signs of life, of which there may be any number before READY=1.
  std::string Receive() {
    char buffer[1024];
    while (true) {
      const ssize_t count = recv(fd_, buffer, sizeof(buffer), 0);
      if (count < 0) return "nothing came";
      std::string said(buffer, static_cast<size_t>(count));
      if (!said.starts_with("EXTEND_TIMEOUT_USEC=")) return said;
    }
  }

 private:
  const std::string name_;
  const int fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
};

// A run of the program to its end.
struct Finished {
  int code = -1;
  std::string output;  // Both streams.
};

Finished RunMqttd(const std::string& arguments) {
  const std::string program = std::filesystem::read_symlink(
      "/proc/" + std::to_string(support::SharedBroker().pid()) + "/exe");
  FILE* const pipe = popen((program + " " + arguments + " 2>&1").c_str(), "r");
  Finished run;
  char buffer[4096];
  for (size_t count = 0; (count = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    run.output.append(buffer, count);
  }
  const int status = pclose(pipe);
  if (WIFEXITED(status)) run.code = WEXITSTATUS(status);
  return run;
}

std::string Write(const std::string& name, const std::string& text) {
  const std::filesystem::path path = support::SharedBroker().directory() / name;
  std::ofstream(path) << text;
  chmod(path.c_str(), 0600);
  return path.string();
}

std::string HttpGet(uint16_t port, const std::string& path) {
  support::Socket socket(port);
  socket.Send("GET " + path + " HTTP/1.0\r\n\r\n");
  std::string answer;
  while (socket.Receive(answer, support::Where::current())) {
  }
  return answer;
}

TEST(Process, ExitsWith2AtWhatTheUserHasToCorrect) {
  const Finished flag = RunMqttd("--lisen mqtt://127.0.0.1:0");
  EXPECT_EQ(flag.code, 2);
  EXPECT_THAT(flag.output, HasSubstr("mqttd: --lisen: no such flag; did you mean --listen?\n"));
  const std::string file = Write("wrong.yaml", "mqtt:\n  recieve_maximum: 1\n");
  const Finished yaml = RunMqttd("--config " + file);
  EXPECT_EQ(yaml.code, 2);
  EXPECT_EQ(yaml.output, "mqttd: " + file +
                             ":2:3: mqtt.recieve_maximum: no such key; did you mean "
                             "mqtt.receive_maximum?\n");
}

TEST(Process, ExitsWith1AtWhatTheMachineRefuses) {
  const Finished taken =
      RunMqttd("--listen mqtt://127.0.0.1:0 --http 127.0.0.1:" +
               std::to_string(support::SharedBroker().http_port()) + " --data-dir " +
               (support::SharedBroker().directory() / "other").string());
  EXPECT_EQ(taken.code, 1);
  EXPECT_THAT(taken.output,
              AllOf(HasSubstr("http: cannot listen on 127.0.0.1:"), Not(HasSubstr("mqttd ready"))));
  const Finished locked = RunMqttd("--listen mqtt://127.0.0.1:0 --http off --data-dir " +
                                   (support::SharedBroker().directory() / "data").string());
  EXPECT_EQ(locked.code, 1) << "another process has that data directory";
}

TEST(Process, PrintsVersionHelpAndConfiguration) {
  EXPECT_THAT(RunMqttd("--version").output, StartsWith("mqttd "));
  EXPECT_EQ(RunMqttd("--version").code, 0);
  EXPECT_THAT(RunMqttd("--help").output, HasSubstr("--allow-anonymous"));
  const Finished print = RunMqttd("--print-config --set mqtt.receive_maximum=7");
  EXPECT_EQ(print.code, 0);
  EXPECT_THAT(print.output, HasSubstr("receive_maximum: 7  # from --set mqtt.receive_maximum\n"));
  const std::string file = Write("printed.yaml", print.output);
  EXPECT_EQ(RunMqttd("--check-config --config " + file).output, "the configuration is right\n");
}

TEST(Process, CheckConfigLoadsTheFilesItNames) {
  const Finished missing = RunMqttd("--check-config --password-file /nonexistent/passwords");
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.output, HasSubstr("/nonexistent/passwords"));
  const std::string acl = Write("acl", "topic read a/#\nusr bob\n");
  const Finished wrong = RunMqttd("--check-config --acl-file " + acl);
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.output, HasSubstr(acl + ":2"));
  const Finished tls = RunMqttd(
      "--check-config --listen mqtts://127.0.0.1:0 --tls-cert-file /nonexistent/c.pem "
      "--tls-key-file /nonexistent/k.pem");
  EXPECT_EQ(tls.code, 2);
  EXPECT_THAT(tls.output, HasSubstr("/nonexistent/c.pem"));
}

TEST(Process, SigtermEndsItWith0AndTheNodeStaysTheSame) {
  BrokerProcess broker;
  EXPECT_EQ(broker.Terminate(), std::optional<int>(0));
  broker.Start();
  EXPECT_EQ(broker.Terminate(), std::optional<int>(0));
  const std::string log = broker.Stderr();
  const size_t first = log.find("ready node=");
  const size_t second = log.find("ready node=", first + 1);
  ASSERT_NE(second, std::string::npos) << log;
  EXPECT_EQ(log.substr(first, 47), log.substr(second, 47));
}

TEST(Process, ServesMetricsAndHealth) {
  BrokerProcess& broker = support::SharedBroker();
  support::RawClient client(broker.port(), support::ConnectPacket{.client_id = "metrics"});
  EXPECT_THAT(HttpGet(broker.http_port(), "/healthz"), EndsWith("\r\n\r\nok\n"));
  EXPECT_THAT(HttpGet(broker.http_port(), "/readyz"),
              AllOf(StartsWith("HTTP/1.0 200"), EndsWith("\r\n\r\nready\n")));
  EXPECT_THAT(HttpGet(broker.http_port(), "/metrics"),
              AllOf(HasSubstr("\nmqttd_clients_connected 1\n"),
                    HasSubstr("\nmqttd_packets_sent_total{type=\"connack\"} 1\n"),
                    HasSubstr("\nmqttd_log_healthy 1\n")));
}

TEST(Process, TellsTheServiceManager) {
  Manager manager;
  BrokerProcess broker;
  EXPECT_THAT(manager.Receive(), StartsWith("READY=1\nSTATUS=listening on mqtt://127.0.0.1:"));
  EXPECT_EQ(broker.Terminate(), std::optional<int>(0));
  EXPECT_THAT(manager.Receive(), StartsWith("STOPPING=1\n"));
}

TEST(Process, ReloadTakesWhatItCanKeepsConnectionsAndSaysWhatWaits) {
  Manager manager;
  const std::string file = Write("reload.yaml", "mqtt: {maximum_qos: 2}\nbroker: {shards: 1}\n");
  BrokerOptions options;
  options.args = {"--config", file};
  BrokerProcess broker(options);
  manager.Receive();  // READY=1.
  support::RawClient client(broker.port(), support::ConnectPacket{.client_id = "stays"});

  Write("reload.yaml", "mqtt: {maximum_qos: 1}\nbroker: {shards: 2}\n");
  broker.Signal(SIGHUP);
  EXPECT_THAT(manager.Receive(), StartsWith("RELOADING=1\nMONOTONIC_USEC="));
  EXPECT_THAT(manager.Receive(), StartsWith("READY=1\n"));
  EXPECT_THAT(
      broker.Stderr(),
      AllOf(
          HasSubstr("info configuration changed key=mqtt.maximum_qos before=2 after=1"),
          HasSubstr("configuration changed, needs a restart key=broker.shards before=1 after=2")));
  client.ExpectNothing();

  Write("reload.yaml", "mqtt: {maximum_qos: 3}\n");
  broker.Signal(SIGHUP);
  EXPECT_THAT(manager.Receive(), StartsWith("RELOADING=1\n"));
  EXPECT_THAT(manager.Receive(), StartsWith("READY=1\n"));
  EXPECT_THAT(broker.Stderr(), AllOf(HasSubstr("reload refused, nothing changed"),
                                     HasSubstr("reload.yaml:1:8: mqtt.maximum_qos: must be")));
  client.ExpectNothing();
}

}  // namespace
