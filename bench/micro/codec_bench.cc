// Cost of the PUBLISH path in the codec: cut, decode, measure, write. Topics and payloads are of
// the size that `mqload` uses, so that the figures can be held against its time per message.
#include <benchmark/benchmark.h>

#include <string>

#include "mqtt/decode.h"
#include "mqtt/encode.h"
#include "mqtt/message.h"
#include "mqtt/topic.h"
#include "mqtt/writer.h"

namespace mqtt {
namespace {

constexpr std::string_view kTopic = "bench/site-17/line-4/sensor/temperature";

std::string UserPropertyBlock() {
  std::string out;
  AppendMessageProperties({.payload_format = uint8_t{1},
                           .content_type = "application/json",
                           .user_properties = {{"trace", "00-4bf92f3577b34da6a3ce929d0e0e4736"}}},
                          out);
  return out;
}

struct Case {
  Version version = Version::k311;
  QoS qos = QoS::kAtMostOnce;
  std::string properties;
  size_t payload_bytes = 64;
};

// Argument of every benchmark: 0 3.1.1 QoS 0, 1 3.1.1 QoS 1, 2 5.0 QoS 1, 3 the same with
// properties.
Case CaseOf(const benchmark::State& state) {
  switch (state.range(0)) {
    case 0:
      return {};
    case 1:
      return {.qos = QoS::kAtLeastOnce};
    case 2:
      return {.version = Version::k5, .qos = QoS::kAtLeastOnce};
    default:
      return {.version = Version::k5, .qos = QoS::kAtLeastOnce, .properties = UserPropertyBlock()};
  }
}

PublishHead HeadOf(const Case& c, std::string_view payload) {
  return {.version = c.version,
          .qos = c.qos,
          .packet_id = PacketId{17},
          .topic = kTopic,
          .forward_properties = c.properties,
          .payload = payload};
}

void BM_Decode(benchmark::State& state) {
  const Case c = CaseOf(state);
  const std::string payload(c.payload_bytes, 'p');
  std::string frame;
  (void)Encode(HeadOf(c, payload), frame);
  Publish packet;
  for (auto _ : state) {
    benchmark::DoNotOptimize(frame.data());
    const FrameResult result = PeekFrame(AsBytes(frame), kPacketSizeMax, c.version);
    const auto violation =
        DecodePublish(result.header.flags, FrameBody(result.header, AsBytes(frame)), c.version,
                      Sender::kClient, packet);
    benchmark::DoNotOptimize(violation);
    benchmark::DoNotOptimize(packet.payload.data());
  }
}
BENCHMARK(BM_Decode)->DenseRange(0, 3);

void BM_Encode(benchmark::State& state) {
  const Case c = CaseOf(state);
  const std::string payload(c.payload_bytes, 'p');
  const PublishHead head = HeadOf(c, payload);
  std::string out(MeasurePublish(head).total, '\0');
  for (auto _ : state) {
    benchmark::DoNotOptimize(head);
    const PublishSize size = MeasurePublish(head);
    const WrittenPublish written = WritePublish(reinterpret_cast<uint8_t*>(out.data()), head, size);
    benchmark::DoNotOptimize(written);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_Encode)->DenseRange(0, 3);

// Copying the payload is all that may grow with it.
void BM_EncodePayload(benchmark::State& state) {
  const std::string payload(static_cast<size_t>(state.range(0)), 'p');
  const PublishHead head = HeadOf(Case{}, payload);
  std::string out(MeasurePublish(head).total, '\0');
  for (auto _ : state) {
    benchmark::DoNotOptimize(head);
    const PublishSize size = MeasurePublish(head);
    benchmark::DoNotOptimize(WritePublish(reinterpret_cast<uint8_t*>(out.data()), head, size));
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
  state.SetComplexityN(state.range(0));
}
BENCHMARK(BM_EncodePayload)->RangeMultiplier(8)->Range(64, 256 << 10)->Complexity();

// A view: nothing grows.
void BM_DecodePayload(benchmark::State& state) {
  const std::string payload(static_cast<size_t>(state.range(0)), 'p');
  std::string frame;
  (void)Encode(HeadOf(Case{}, payload), frame);
  Publish packet;
  for (auto _ : state) {
    benchmark::DoNotOptimize(frame.data());
    const FrameResult result = PeekFrame(AsBytes(frame), kPacketSizeMax, Version::k311);
    benchmark::DoNotOptimize(DecodePublish(result.header.flags,
                                           FrameBody(result.header, AsBytes(frame)), Version::k311,
                                           Sender::kClient, packet));
  }
  state.SetComplexityN(state.range(0));
}
BENCHMARK(BM_DecodePayload)->RangeMultiplier(8)->Range(64, 256 << 10)->Complexity();

void BM_MakeMessage(benchmark::State& state) {
  const Case c = CaseOf(state);
  const std::string payload(c.payload_bytes, 'p');
  const Publish packet{.qos = c.qos, .payload = payload, .raw_properties = c.properties};
  std::string scratch;
  for (auto _ : state) {
    benchmark::DoNotOptimize(MakeMessage(packet, kTopic, "client-17", 1, scratch));
  }
}
BENCHMARK(BM_MakeMessage)->DenseRange(0, 3);

void BM_WriteAck(benchmark::State& state) {
  uint8_t room[kAckSizeMax];
  uint16_t id = 1;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        WriteAck(room, PacketType::kPubAck, Version::k5, PacketId{++id}, ReasonCode::kSuccess));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_WriteAck);

void BM_Matches(benchmark::State& state) {
  const std::string_view filter = "bench/+/line-4/#";
  for (auto _ : state) {
    benchmark::DoNotOptimize(Matches(filter, kTopic));
  }
}
BENCHMARK(BM_Matches);

}  // namespace
}  // namespace mqtt
