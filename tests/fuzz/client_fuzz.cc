// What a server might send to a client with messages open in both directions. Byte 0 chooses the
// version; the rest is cut into frames. Whatever comes, what the client answers is well formed, and
// each publish ends once at most.
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "base/check.h"
#include "client/core/session.h"
#include "mqtt/frame.h"

namespace mqttd::client {
namespace {

constexpr size_t kPacketBytes = 1 << 16;

class Harness {
 public:
  explicit Harness(mqtt::Version version) : session_(OptionsFor(version), nullptr) {
    for (Token token = 1; token <= 6; ++token) {
      Message message;
      message.topic = token % 2 == 0 ? "even" : "odd";
      message.payload = "x";
      message.qos = static_cast<mqtt::QoS>(token % 3);
      CHECK(session_.Publish(token, std::move(message)).ok()) << "nothing else waits";
    }
    CHECK(session_.Subscribe(7, {{"a/#", {}}}).ok()) << "a valid filter";
    CHECK(session_.Unsubscribe(8, {"b"}).ok()) << "a valid filter";
  }

  // False: the connection is to be closed.
  bool Connection(mqtt::Bytes& stream) {
    session_.BeginConnection();
    while (true) {
      TakeOutput();
      const mqtt::FrameResult frame =
          mqtt::PeekFrame(stream, kPacketBytes, session_.options().version);
      if (frame.kind != mqtt::FrameResult::Kind::kComplete) {
        stream = {};
        return false;
      }
      const mqtt::Bytes body = mqtt::FrameBody(frame.header, stream);
      const auto violation = session_.OnFrame(frame.header, body);
      stream.remove_prefix(frame.header.frame_size());
      TakeEvents();
      if (violation.has_value()) {
        CHECK(mqtt::IsError(violation->reason) && !violation->rule.empty()) << *violation;
        TakeOutput();
        session_.EndConnection();
        return !stream.empty();
      }
    }
  }

 private:
  static SessionOptions OptionsFor(mqtt::Version version) {
    SessionOptions options;
    options.version = version;
    options.client_id = "fuzz";
    options.clean_start = false;
    options.session_expiry_s = 60;
    options.maximum_packet_size = kPacketBytes;
    options.topic_alias_maximum = 3;
    options.receive_maximum = 3;
    options.authentication_method = version == mqtt::Version::k5 ? "M" : "";
    return options;
  }

  void TakeOutput() {
    while (session_.HasOutput()) {
      std::string out;
      session_.TakeOutput(out);
      for (mqtt::Bytes rest = mqtt::AsBytes(out); !rest.empty();) {
        const mqtt::FrameResult frame =
            mqtt::PeekFrame(rest, mqtt::kPacketSizeMax, session_.options().version);
        CHECK(frame.kind == mqtt::FrameResult::Kind::kComplete) << "half a packet was sent";
        rest.remove_prefix(frame.header.frame_size());
      }
    }
  }

  void TakeEvents() {
    for (const Event& event : session_.TakeEvents()) {
      if (const auto* done = std::get_if<PublishDone>(&event)) {
        CHECK(ended_.insert(done->token).second) << "publish " << done->token << " ended twice";
      }
      if (std::holds_alternative<AuthWanted>(event)) {
        session_.SendAuth(mqtt::ReasonCode::kContinueAuthentication, "data");
      }
    }
  }

  Session session_;
  std::set<Token> ended_;
};

}  // namespace
}  // namespace mqttd::client

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr mqtt::Version kVersions[] = {mqtt::Version::k31, mqtt::Version::k311, mqtt::Version::k5,
                                         mqtt::Version::k5};
  mqttd::client::Harness harness(kVersions[data[0] & 3]);
  mqtt::Bytes stream(data + 1, size - 1);
  while (harness.Connection(stream)) {
  }
  return 0;
}
