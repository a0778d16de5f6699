// A session and its store: what was accepted and is not acknowledged is in it, at every moment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "client/core/session.h"
#include "tests/client/core/fake_server.h"

namespace mqttd::client {
namespace {

using mqtt::PacketId;
using mqtt::QoS;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

// May fail, or end the process.
class MemoryStore final : public Store {
 public:
  absl::StatusOr<Contents> Load() override { return Now(); }
  absl::Status PutOutbound(uint64_t sequence, PacketId id, const Message& message) override {
    return Change([&] { outbound_[sequence] = {sequence, id, false, message}; });
  }
  absl::Status MarkSent(uint64_t sequence, PacketId id) override {
    return Change([&] { outbound_.at(sequence).id = id; });
  }
  absl::Status MarkReleased(uint64_t sequence) override {
    return Change([&] { outbound_.at(sequence).released = true; });
  }
  absl::Status RemoveOutbound(uint64_t sequence) override {
    return Change([&] { outbound_.erase(sequence); });
  }
  absl::Status PutInbound(PacketId id) override {
    return Change([&] { inbound_.insert(id); });
  }
  absl::Status RemoveInbound(PacketId id) override {
    return Change([&] { inbound_.erase(id); });
  }
  absl::Status RestartSession(const std::vector<uint64_t>& over) override {
    return Change([&] {
      for (const uint64_t sequence : over) outbound_.erase(sequence);
      for (auto& [sequence, one] : outbound_) one.id = {};
      inbound_.clear();
    });
  }

  Contents Now() const {
    Contents contents;
    for (const auto& [sequence, one] : outbound_) contents.outbound.push_back(one);
    contents.inbound.assign(inbound_.begin(), inbound_.end());
    return contents;
  }
  void Hold(const Contents& contents) {
    for (const Outbound& one : contents.outbound) outbound_[one.sequence] = one;
    inbound_.insert(contents.inbound.begin(), contents.inbound.end());
  }
  std::vector<std::string> payloads() const {
    std::vector<std::string> payloads;
    for (const auto& [sequence, one] : outbound_) payloads.push_back(one.message.payload);
    return payloads;
  }
  struct Crash {};
  int crash_at = -1;    // The process dies behind this change.
  int fail_after = -1;  // So many changes more work; -1: all.

 private:
  template <typename Function>
  absl::Status Change(const Function& change) {
    if (fail_after == 0) return absl::ResourceExhaustedError("the disk is full");
    if (fail_after > 0) --fail_after;
    change();
    if (++changes_ == crash_at) throw Crash();
    return absl::OkStatus();
  }

  std::map<uint64_t, Outbound> outbound_;
  std::set<PacketId> inbound_;
  int changes_ = 0;
};

class SessionStore : public testing::Test {
 protected:
  static SessionOptions Narrow() {
    SessionOptions options;
    options.client_id = "device";
    options.session_expiry_s = 3600;
    options.clean_start = false;
    options.inflight_messages_max = 2;
    return options;
  }
  // A process begins, with what a store holds.
  void Begin(Store::Contents contents = {}, const SessionOptions& options = Narrow()) {
    session_.reset();
    store_ = std::make_unique<MemoryStore>();
    store_->Hold(contents);
    session_ = std::make_unique<Session>(options, store_.get());
    ASSERT_TRUE(session_->Load().ok());
  }
  void Connect() {
    session_->BeginConnection();
    Exchange();
  }
  void Exchange() {
    while (store().ok() && (session_->HasOutput() || !server_.answers().empty())) {
      std::string bytes;
      session_->TakeOutput(bytes);
      server_.Receive(bytes);
      ASSERT_FALSE(server_.AnswerTo(*session_).has_value());
    }
    TakeEvents();
  }
  const absl::Status& store() const { return session_->store_status(); }
  void Lose() {
    session_->EndConnection();
    server_.Drop();
    TakeEvents();
  }
  void TakeEvents() {
    for (Event& event : session_->TakeEvents()) {
      if (auto* done = std::get_if<PublishDone>(&event)) published_.push_back(*done);
      if (auto* done = std::get_if<StoredDone>(&event)) stored_.push_back(*done);
    }
  }
  absl::Status Publish(Token token, const std::string& payload, QoS qos) {
    Message message;
    message.topic = "t";
    message.payload = payload;
    message.qos = qos;
    return session_->Publish(token, std::move(message));
  }
  // Each message that a store brought, and how it ended.
  std::vector<std::string> Told() const {
    std::vector<std::string> told;
    for (const StoredDone& done : stored_) {
      told.push_back(done.message.payload + " " + std::string(done.status.message()));
    }
    return told;
  }

  void PublishAndNote(int number) {
    const QoS qos = number % 2 == 0 ? QoS::kAtLeastOnce : QoS::kExactlyOnce;
    ASSERT_TRUE(Publish(Token(number + 1), std::to_string(number), qos).ok());
    accepted_.emplace_back(std::to_string(number), qos);
  }
  // Six messages, before, on and after a connection whose last answers are lost.
  void LiveOnce(bool lost) {
    for (int i = 0; i < 3; ++i) PublishAndNote(i);
    Connect();
    for (int i = 3; i < 6; ++i) PublishAndNote(i);
    std::string bytes;
    session_->TakeOutput(bytes);
    server_.Receive(bytes);
    Lose();
    if (lost) server_.LoseSession();
    Connect();
  }

  std::unique_ptr<MemoryStore> store_;
  std::unique_ptr<Session> session_;
  FakeServer server_;
  std::vector<std::pair<std::string, QoS>> accepted_;
  std::vector<PublishDone> published_;
  std::vector<StoredDone> stored_;
};

TEST_F(SessionStore, WhatWaitsIsKeptFromItsAcceptanceAndInItsOrder) {
  Begin();
  for (int i = 1; i <= 5; ++i) {
    ASSERT_TRUE(
        Publish(Token(i), std::to_string(i), i % 2 == 0 ? QoS::kExactlyOnce : QoS::kAtLeastOnce)
            .ok());
  }
  ASSERT_TRUE(Publish(6, "qos 0", QoS::kAtMostOnce).ok());
  EXPECT_THAT(store_->payloads(), ElementsAre("1", "2", "3", "4", "5"));

  Begin(store_->Now());  // The process died.
  ASSERT_TRUE(Publish(7, "6", QoS::kAtLeastOnce).ok());
  Connect();
  EXPECT_THAT(server_.routed(), ElementsAre("1", "2", "3", "4", "5", "6"));
  EXPECT_THAT(store_->payloads(), IsEmpty());
  EXPECT_THAT(Told(), UnorderedElementsAre("1 ", "2 ", "3 ", "4 ", "5 "));
  EXPECT_THAT(published_, SizeIs(1));
}

TEST_F(SessionStore, WhatIsAcceptedIsBoundedWithAStoreToo) {
  SessionOptions options = Narrow();
  options.queue_messages_max = 3;
  Begin({}, options);
  for (int i = 1; i <= 3; ++i) ASSERT_TRUE(Publish(Token(i), "x", QoS::kAtLeastOnce).ok());
  EXPECT_EQ(Publish(4, "x", QoS::kAtLeastOnce).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(store_->payloads(), SizeIs(3));
}

TEST_F(SessionStore, AMessageOfAnEarlierProcessEndsWithWhatTheServerSaysOfIt) {
  Begin();
  Connect();
  ASSERT_TRUE(Publish(1, "sent", QoS::kExactlyOnce).ok());
  Begin(store_->Now());
  server_.Drop();
  Connect();
  EXPECT_THAT(Told(), ElementsAre("sent "));
  EXPECT_EQ(stored_[0].result.reason, mqtt::ReasonCode::kSuccess);
  EXPECT_THAT(server_.routed(), ElementsAre("sent"));
}

TEST_F(SessionStore, WhatIsNotSentAfterAllIsNotKept) {
  Begin();
  ASSERT_TRUE(Publish(1, "cancelled", QoS::kAtLeastOnce).ok());
  ASSERT_TRUE(session_->CancelPublish(1));
  EXPECT_THAT(store_->payloads(), IsEmpty());
  server_.connack().maximum_qos = QoS::kAtLeastOnce;
  ASSERT_TRUE(Publish(2, "too much", QoS::kExactlyOnce).ok());
  Connect();
  EXPECT_THAT(store_->payloads(), IsEmpty());
  ASSERT_THAT(published_, SizeIs(2));
  EXPECT_EQ(published_[1].status.code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SessionStore, WhatIsOpenWhenTheClientGoesStaysAndNobodyIsToldThatItEnded) {
  Begin();
  ASSERT_TRUE(Publish(1, "old", QoS::kAtLeastOnce).ok());
  Begin(store_->Now());
  ASSERT_TRUE(Publish(2, "new", QoS::kAtLeastOnce).ok());
  session_->Fail(absl::CancelledError("closed"));
  TakeEvents();
  EXPECT_THAT(store_->payloads(), ElementsAre("old", "new"));
  EXPECT_THAT(stored_, IsEmpty());
  ASSERT_THAT(published_, SizeIs(1));
  EXPECT_TRUE(absl::IsCancelled(published_[0].status));
}

// ---- The server has lost the session ---------------------------------------------------------

TEST_F(SessionStore, ALostSessionIsForgottenAsTheOptionsSay) {
  Begin();
  Connect();
  ASSERT_TRUE(Publish(1, "one", QoS::kAtLeastOnce).ok());
  ASSERT_TRUE(Publish(2, "two", QoS::kExactlyOnce).ok());
  ASSERT_TRUE(Publish(3, "three", QoS::kAtLeastOnce).ok());
  Begin(store_->Now());
  server_.LoseSession();
  server_.Drop();
  Connect();
  EXPECT_THAT(server_.routed(), ElementsAre("one", "three"));
  EXPECT_THAT(Told(),
              ElementsAre(HasSubstr("two the server has lost the session"), "one ", "three "));
  EXPECT_EQ(stored_[0].status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(store_->payloads(), IsEmpty());
}

// A process dies after any of the store's changes, with a server that keeps the session or has lost
// it once: what was accepted is not lost, and QoS 2 is never doubled.
TEST_F(SessionStore, NoCrashLosesWhatWasAccepted) {
  for (const bool lost : {false, true}) {
    bool died = true;
    for (int crash = 1; died; ++crash) {
      SCOPED_TRACE(std::to_string(crash) + (lost ? ", lost" : ""));
      server_ = FakeServer();
      Begin();
      store_->crash_at = crash;
      accepted_.clear();
      died = false;
      try {
        LiveOnce(lost);
      } catch (const MemoryStore::Crash&) {
        died = true;
      }
      Begin(store_->Now());
      server_.Drop();
      Connect();
      EXPECT_THAT(store_->payloads(), IsEmpty());
      const std::vector<std::string>& routed = server_.routed();
      for (const auto& [payload, qos] : accepted_) {
        const auto times = std::count(routed.begin(), routed.end(), payload);
        if (qos == QoS::kExactlyOnce) {
          EXPECT_LE(times, 1) << payload;
        }
        if (qos == QoS::kAtLeastOnce || !lost) {
          EXPECT_GE(times, 1) << payload;
        }
      }
    }
  }
}

// ---- The store fails -------------------------------------------------------------------------

TEST_F(SessionStore, WhatCannotBeKeptIsNotAccepted) {
  Begin();
  store_->fail_after = 1;
  ASSERT_TRUE(Publish(1, "kept", QoS::kAtLeastOnce).ok());
  EXPECT_EQ(Publish(2, "not kept", QoS::kAtLeastOnce).message(), "the disk is full");
  EXPECT_EQ(session_->queued(), 1u);
}

// The connection ends there; the next one goes on, whatever the change was.
TEST_F(SessionStore, AfterAFailureNothingIsLostOrDoubledOnTheNextConnection) {
  for (const bool lost : {false, true}) {
    for (int works = 4; works < 20; ++works) {
      server_ = FakeServer();
      published_.clear();
      Begin();
      for (int i = 1; i <= 4; ++i) {
        ASSERT_TRUE(
            Publish(Token(i), std::to_string(i), i % 2 == 0 ? QoS::kExactlyOnce : QoS::kAtLeastOnce)
                .ok());
      }
      if (lost) {
        session_->BeginConnection();
        std::string bytes;
        session_->TakeOutput(bytes);
        server_.Receive(bytes);
        ASSERT_FALSE(server_.AnswerTo(*session_).has_value());
        Lose();  // Two are in flight.
        server_.LoseSession();
      }
      store_->fail_after = works - 4;
      Connect();
      store_->fail_after = -1;
      Lose();
      Connect();
      EXPECT_TRUE(store().ok());
      ASSERT_THAT(published_, SizeIs(4)) << works;
      EXPECT_THAT(store_->payloads(), IsEmpty());
      for (const PublishDone& done : published_) {
        if (!lost) {
          EXPECT_TRUE(done.status.ok()) << done.status;
        }
        const auto& routed = server_.routed();
        const auto times = std::count(routed.begin(), routed.end(), std::to_string(done.token));
        if (done.status.ok()) {
          EXPECT_GE(times, 1) << done.token;
        }
        if (done.token % 2 == 0) {
          EXPECT_LE(times, 1) << done.token;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mqttd::client
