#include "admin/api/grpc_server.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "admin/api/access.h"
#include "admin/api/calls.h"
#include "base/mutex.h"
#include "grpc/health/v1/health.pb.h"
#include "mqttd/admin/v1/clients.pb.h"
#include "mqttd/admin/v1/log.pb.h"
#include "mqttd/admin/v1/metrics.pb.h"
#include "tests/support/fake_clock.h"

namespace admin {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using testing::HasSubstr;
using Stream = grpc::ClientAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kLevel[] = "/mqttd.admin.v1.Log/GetLevel";
constexpr char kList[] = "/mqttd.admin.v1.Clients/List";
constexpr char kMetrics[] = "/mqttd.admin.v1.Metrics/List";
constexpr char kToken[] = "a-token-of-32-characters-or-more";

// A message without fields.
grpc::ByteBuffer Empty() {
  const grpc::Slice nothing;
  return {&nothing, 1};
}

// A server with a health check, which anybody may call, and a method of viewers.
class GrpcServerTest : public testing::Test {
 protected:
  void Serve(CallLimits limits) {
    auto table = AccessTable::Parse(std::string("token ops viewer ") + kToken + "\n", "access");
    ASSERT_TRUE(table.ok()) << table.status();
    access_ = std::make_unique<Access>(*table);
    calls_ = std::make_unique<Calls>(*access_, clock_, limits, [this] { return silent_; });
    methods_.Add<HealthCheckRequest, HealthCheckResponse>(
        "grpc.health.v1.Health", "Check",
        [](const Caller&, const HealthCheckRequest&, const Reply<HealthCheckResponse>& reply) {
          reply(HealthCheckResponse());
        });
    methods_.Add<pb::GetLogLevelRequest, pb::GetLogLevelResponse>(
        "mqttd.admin.v1.Log", "GetLevel",
        [](const Caller&, const pb::GetLogLevelRequest&,
           const Reply<pb::GetLogLevelResponse>& reply) { reply(pb::GetLogLevelResponse()); });
    methods_.Add<pb::ListClientsRequest, pb::ListClientsResponse>(
        "mqttd.admin.v1.Clients", "List",
        [](const Caller&, const pb::ListClientsRequest&,
           const Reply<pb::ListClientsResponse>& reply) {
          pb::ListClientsResponse response;
          response.mutable_page()->set_next(std::string(16 << 20, 'x'));
          reply(std::move(response));
        });
    methods_.Add<pb::ListMetricsRequest, pb::ListMetricsResponse>(
        "mqttd.admin.v1.Metrics", "List",
        [this](const Caller&, const pb::ListMetricsRequest&, Reply<pb::ListMetricsResponse> reply) {
          base::MutexLock lock(mutex_);
          unanswered_.push_back(std::move(reply));
        });
    config::AdminOptions options;
    options.listen = "127.0.0.1:0";
    auto server = GrpcServer::Start(options, {.methods = &methods_, .calls = calls_.get()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = std::make_unique<grpc::GenericStub>(
        grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  }

  // A call that was begun, and of which nothing else is sent.
  struct Begun {
    grpc::ClientContext context;
    grpc::CompletionQueue events;
    std::unique_ptr<Stream> stream;

    ~Begun() {
      context.TryCancel();
      events.Shutdown();
      void* tag = nullptr;
      bool ok = false;
      while (events.Next(&tag, &ok)) continue;
    }
    void Wait() {
      void* tag = nullptr;
      bool ok = false;
      ASSERT_TRUE(events.Next(&tag, &ok));
    }
    grpc::Status End() {
      grpc::Status status;
      stream->Finish(&status, nullptr);
      Wait();
      return status;
    }
  };
  std::unique_ptr<Begun> Begin(const char* method, const char* token) {
    auto call = std::make_unique<Begun>();
    if (token != nullptr)
      call->context.AddMetadata("authorization", std::string("Bearer ") + token);
    call->stream = stub_->PrepareCall(&call->context, method, &call->events);
    call->stream->StartCall(nullptr);
    call->Wait();
    return call;
  }
  grpc::Status Make(const char* method, const char* token) {
    const std::unique_ptr<Begun> call = Begin(method, token);
    call->stream->WriteLast(Empty(), {}, nullptr);
    call->Wait();
    grpc::ByteBuffer answer;
    call->stream->Read(&answer, nullptr);
    call->Wait();
    return call->End();
  }

  // A caller hears of the end of a call before the server has let go of it: as often as it takes.
  grpc::Status MakeWhenThereIsRoom(const char* method) {
    while (true) {
      const grpc::Status status = Make(method, kToken);
      if (status.error_message().find("admin.calls_max") == std::string::npos) return status;
    }
  }

  support::FakeClock clock_;
  std::string silent_;
  base::Mutex mutex_;
  // Of who asks for the metrics.
  std::vector<Reply<pb::ListMetricsResponse>> unanswered_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Access> access_;
  std::unique_ptr<Calls> calls_;
  Methods methods_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<grpc::GenericStub> stub_;
};

TEST_F(GrpcServerTest, WhoShowsNothingTakesNoPlaceOfThoseWhoMayAct) {
  Serve({.calls_max = 4, .open_max = 4});
  std::vector<std::unique_ptr<Begun>> strangers;
  for (int i = 0; i < 8; ++i) strangers.push_back(Begin(kCheck, nullptr));
  // Four of them are refused; which, is known when that comes.
  while (calls_->view().refused_full < 4) EXPECT_FALSE(Make(kCheck, nullptr).ok());
  EXPECT_EQ(calls_->view().open, 4u);
  EXPECT_EQ(calls_->view().calls, 0u);
  const grpc::Status level = Make(kLevel, kToken);
  EXPECT_TRUE(level.ok()) << level.error_message();
  EXPECT_THAT(Make(kCheck, nullptr).error_message(), HasSubstr("4 calls of methods"));
}

TEST_F(GrpcServerTest, ACallWhoseRequestDoesNotComeEnds) {
  Serve({.patience = absl::Milliseconds(20)});
  const grpc::Status status = Begin(kLevel, kToken)->End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(status.error_message(), "the request did not come in time");
}

TEST_F(GrpcServerTest, AnAnswerThatIsNotTakenKeepsNoPlace) {
  Serve({.calls_max = 1, .patience = absl::Milliseconds(20)});
  const std::unique_ptr<Begun> call = Begin(kList, kToken);
  call->stream->WriteLast(Empty(), {}, nullptr);
  call->Wait();
  call->stream->ReadInitialMetadata(nullptr);  // It comes before the answer, which nobody reads.
  call->Wait();
  const grpc::Status level = MakeWhenThereIsRoom(kLevel);
  EXPECT_TRUE(level.ok()) << level.error_message();
}

TEST_F(GrpcServerTest, WhatNobodyWaitsForKeepsNoPlaceAndIsBounded) {
  silent_ = "shard 3 has not answered for 41 s";
  Serve({.calls_max = 2, .left_behind_max = 3, .patience = absl::Milliseconds(20)});
  for (int i = 0; i < 3; ++i) {
    const grpc::Status late = MakeWhenThereIsRoom(kMetrics);
    EXPECT_EQ(late.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    EXPECT_EQ(late.error_message(), "shard 3 has not answered for 41 s");
  }
  while (calls_->view().left_behind < 3) ASSERT_TRUE(MakeWhenThereIsRoom(kLevel).ok());
  const grpc::Status refused = MakeWhenThereIsRoom(kMetrics);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("3 calls of Metrics/List"));
  EXPECT_THAT(refused.error_message(), HasSubstr("shard 3"));
  EXPECT_TRUE(MakeWhenThereIsRoom(kLevel).ok());
  std::vector<Reply<pb::ListMetricsResponse>> unanswered;
  {
    base::MutexLock lock(mutex_);
    unanswered.swap(unanswered_);
  }
  for (const auto& reply : unanswered) reply(pb::ListMetricsResponse());
  EXPECT_EQ(calls_->view().left_behind, 0u);
  EXPECT_EQ(MakeWhenThereIsRoom(kMetrics).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

}  // namespace
}  // namespace admin
