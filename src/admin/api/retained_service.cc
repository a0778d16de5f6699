#include "admin/api/retained_service.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "admin/api/client_pages.h"
#include "admin/api/message_proto.h"
#include "base/mutex.h"
#include "mqttd/admin/v1/retained.pb.h"
#include "storage/leader/host.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Retained";
constexpr uint64_t kPayloadBytesMax = 1 << 20;
constexpr uint64_t kWhole = std::numeric_limits<uint64_t>::max();
constexpr size_t kAtOnce = 256;
constexpr int kImportMax = 1000;

using Page = storage::RetainedScans::Page;
using PageDone = std::function<void(absl::StatusOr<Page>, int64_t now_unix_ms)>;

// A page; `done` on the host's thread.
void Scan(const BrokerAccess& broker, const std::string& filter, const std::string& cursor,
          size_t messages_max, PageDone done) {
  const bool open = broker.OnHost([=](storage::Host& host) {
    storage::RetainedScanOptions options;
    options.messages_max = messages_max;
    host.ReadRetained(filter, cursor, options, [done, &host](absl::StatusOr<Page> page) {
      done(std::move(page), host.node().now.unix_ms);
    });
  });
  if (!open) done(broker.CheckOpen(), 0);
}

std::string FilterOf(const std::string& filter) { return filter.empty() ? "#" : filter; }

void List(const BrokerAccess& broker, const pb::ListRetainedRequest& request,
          Reply<pb::ListRetainedResponse> reply) {
  const std::string filter = FilterOf(request.filter());
  if (absl::Status status = CheckFilter(filter); !status.ok()) return reply(status);
  const std::string cursor = absl::HexStringToBytes(request.page().token());
  if (absl::BytesToHexString(cursor) != request.page().token())
    return reply(absl::InvalidArgumentError("page.token: not one that a page before gave"));
  const uint64_t bytes_max = std::min(request.payload_bytes_max(), kPayloadBytesMax);
  Scan(
      broker, filter, cursor, PageSizeOf(request.page()),
      [reply = std::move(reply), bytes_max](const absl::StatusOr<Page>& page, int64_t now_unix_ms) {
        if (!page.ok()) return reply(page.status());
        pb::ListRetainedResponse response;
        for (const mqtt::MessagePtr& message : page->messages)
          *response.add_messages() = ToProto(*message, now_unix_ms, bytes_max);
        response.mutable_page()->set_next(absl::BytesToHexString(page->cursor));
        reply(std::move(response));
      });
}

void Get(const BrokerAccess& broker, const pb::GetRetainedRequest& request,
         Reply<pb::GetRetainedResponse> reply) {
  const std::string topic = request.topic();
  if (absl::Status status = CheckTopic(topic); !status.ok()) return reply(status);
  Scan(broker, topic, "", 1,
       [reply = std::move(reply), topic](const absl::StatusOr<Page>& page, int64_t now_unix_ms) {
         if (!page.ok()) return reply(page.status());
         if (page->messages.empty()) {
           return reply(absl::NotFoundError(
               absl::StrCat("there is no retained message of \"", topic, "\"")));
         }
         pb::GetRetainedResponse response;
         *response.mutable_message() = ToProto(*page->messages.front(), now_unix_ms, kWhole);
         reply(std::move(response));
       });
}

// ---- Set and Import -----------------------------------------------------------------------------

// Publishes messages one behind the other; `done` when all are stored, or with the first error.
class Setting : public std::enable_shared_from_this<Setting> {
 public:
  Setting(size_t messages, std::function<void(absl::Status)> done)
      : left_(messages + 1), done_(std::move(done)) {}

  void Start(inside::Client& client, std::vector<mqttd::client::Message> messages) {
    for (mqttd::client::Message& message : messages) {
      client.Publish(std::move(message),
                     [self = shared_from_this()](const absl::StatusOr<inside::Matched>& result) {
                       self->Done(result.status());
                     });
    }
    client.Sync([self = shared_from_this()](const absl::Status& status) { self->Done(status); });
  }

 private:
  void Done(const absl::Status& status) {
    status_.Update(status);
    if (--left_ == 0) done_(status_);
  }

  // On the client's thread.
  size_t left_;
  absl::Status status_;
  const std::function<void(absl::Status)> done_;
};

absl::StatusOr<mqttd::client::Message> ToRetain(const pb::Message& proto) {
  auto message = FromProto(proto);
  if (!message.ok()) return message;
  if (message->payload.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("payload: an empty one would remove the message of \"", proto.topic(), "\""));
  }
  message->retain = true;
  return message;
}

void SetAll(const BrokerAccess& broker, InsideClients& inside,
            const google::protobuf::RepeatedPtrField<pb::Message>& messages,
            std::function<void(absl::Status)> done) {
  std::vector<mqttd::client::Message> to_set;
  for (const pb::Message& proto : messages) {
    auto message = ToRetain(proto);
    if (!message.ok()) return done(message.status());
    to_set.push_back(*std::move(message));
  }
  if (absl::Status status = broker.CheckOpen(); !status.ok()) return done(status);
  const size_t count = to_set.size();
  std::make_shared<Setting>(count, std::move(done))->Start(*inside.publisher(), std::move(to_set));
}

void Set(const BrokerAccess& broker, InsideClients& inside, const pb::SetRetainedRequest& request,
         Reply<pb::SetRetainedResponse> reply) {
  google::protobuf::RepeatedPtrField<pb::Message> one;
  *one.Add() = request.message();
  SetAll(broker, inside, one, [reply = std::move(reply)](const absl::Status& status) {
    if (!status.ok()) return reply(status);
    reply(pb::SetRetainedResponse());
  });
}

void Import(const BrokerAccess& broker, InsideClients& inside,
            const pb::ImportRetainedRequest& request, Reply<pb::ImportRetainedResponse> reply) {
  const int count = request.messages_size();
  if (count == 0 || count > kImportMax)
    return reply(absl::InvalidArgumentError(absl::StrCat("messages: 1 to ", kImportMax)));
  SetAll(broker, inside, request.messages(),
         [reply = std::move(reply), count](const absl::Status& status) {
           if (!status.ok()) return reply(status);
           pb::ImportRetainedResponse response;
           response.set_imported(static_cast<uint64_t>(count));
           reply(std::move(response));
         });
}

// ---- Delete -------------------------------------------------------------------------------------

// A page is found, then removed; the next begins behind it. Only what is in partitions that are led
// here: the other nodes are asked for theirs.
class Deletion : public std::enable_shared_from_this<Deletion> {
 public:
  Deletion(const BrokerAccess& broker, std::string filter, Reply<pb::DeleteRetainedResponse> reply)
      : broker_(broker), filter_(std::move(filter)), reply_(std::move(reply)) {}

  void Next() {
    Scan(broker_, filter_, cursor_, kAtOnce,
         [self = shared_from_this()](absl::StatusOr<Page> page, int64_t) {
           if (!page.ok()) return self->reply_(page.status());
           self->cursor_ = page->cursor;
           self->topics_.clear();
           for (const mqtt::MessagePtr& message : page->messages)
             self->topics_.emplace_back(message->topic());
           self->topics_.empty() ? self->Removed(absl::OkStatus()) : self->Remove();
         });
  }

 private:
  void Remove() {
    const bool open = broker_.OnHost([self = shared_from_this()](storage::Host& host) {
      std::erase_if(self->topics_, [&host](const std::string& topic) {
        return !host.node().HomeOf(topic).serving();
      });
      std::vector<uint64_t> lives;
      for (const std::string& topic : self->topics_)
        lives.push_back(host.node().HomeOf(topic).life());
      host.RemoveRetained(self->topics_, [self, &host, lives](const absl::Status& status) {
        // Of what was proposed by a leader that had to go nobody knows yet what becomes of it.
        for (size_t i = 0; i < lives.size(); ++i)
          self->deleted_ += host.node().HomeOf(self->topics_[i]).life() == lives[i] ? 1 : 0;
        self->Removed(status);
      });
    });
    if (!open) reply_(BrokerAccess::Closed());
  }
  void Removed(const absl::Status& status) {
    if (!status.ok()) return reply_(status);
    if (!cursor_.empty()) return Next();
    pb::DeleteRetainedResponse response;
    response.set_deleted(deleted_);
    reply_(std::move(response));
  }

  const BrokerAccess& broker_;
  const std::string filter_;
  const Reply<pb::DeleteRetainedResponse> reply_;
  std::string cursor_;
  std::vector<std::string> topics_;
  uint64_t deleted_ = 0;
};

void Delete(const BrokerAccess& broker, const pb::DeleteRetainedRequest& request,
            Reply<pb::DeleteRetainedResponse> reply) {
  if (absl::Status status = CheckFilter(request.filter()); !status.ok()) return reply(status);
  std::make_shared<Deletion>(broker, request.filter(), std::move(reply))->Next();
}

// ---- Export -------------------------------------------------------------------------------------

// A page at a time; the next is read when all of it was taken.
class Exporting : public std::enable_shared_from_this<Exporting> {
 public:
  Exporting(const BrokerAccess& broker, std::string filter, std::shared_ptr<Outlet> outlet)
      : broker_(broker), filter_(std::move(filter)), outlet_(std::move(outlet)) {
    outlet_->OnGone([gone = gone_] { *gone = true; });
  }

  void Next() {
    Scan(broker_, filter_, cursor_, kAtOnce,
         [self = shared_from_this()](absl::StatusOr<Page> page, int64_t now_unix_ms) {
           if (!page.ok()) return self->outlet_->End(page.status());
           self->page_ = *std::move(page);
           self->cursor_ = self->page_.cursor;
           self->now_unix_ms_ = now_unix_ms;
           self->sent_ = 0;
           self->Pass();
         });
  }

 private:
  void Pass() {
    for (; sent_ < page_.messages.size(); ++sent_) {
      pb::ExportRetainedResponse response;
      *response.mutable_message() = ToProto(*page_.messages[sent_], now_unix_ms_, kWhole);
      if (outlet_->Send(response)) continue;
      if (*gone_) return;
      return outlet_->OnRoom([self = shared_from_this()] { self->Pass(); });
    }
    cursor_.empty() ? outlet_->End(absl::OkStatus()) : Next();
  }

  const BrokerAccess& broker_;
  const std::string filter_;
  const std::shared_ptr<Outlet> outlet_;
  const std::shared_ptr<std::atomic<bool>> gone_ = std::make_shared<std::atomic<bool>>(false);
  std::string cursor_;
  Page page_;
  int64_t now_unix_ms_ = 0;
  size_t sent_ = 0;
};

void Export(const BrokerAccess& broker, const pb::ExportRetainedRequest& request,
            const std::shared_ptr<Outlet>& outlet) {
  const std::string filter = FilterOf(request.filter());
  if (absl::Status status = CheckFilter(filter); !status.ok()) return outlet->End(status);
  std::make_shared<Exporting>(broker, filter, outlet)->Next();
}

}  // namespace

void AddRetainedService(const BrokerAccess& broker, InsideClients& inside, Methods& methods) {
  methods.Add<pb::ListRetainedRequest, pb::ListRetainedResponse>(
      kService, "List",
      [&broker](const Caller&, const pb::ListRetainedRequest& request, auto reply) {
        List(broker, request, std::move(reply));
      });
  methods.Add<pb::GetRetainedRequest, pb::GetRetainedResponse>(
      kService, "Get", [&broker](const Caller&, const pb::GetRetainedRequest& request, auto reply) {
        Get(broker, request, std::move(reply));
      });
  methods.Add<pb::SetRetainedRequest, pb::SetRetainedResponse>(
      kService, "Set",
      [&broker, &inside](const Caller&, const pb::SetRetainedRequest& request, auto reply) {
        Set(broker, inside, request, std::move(reply));
      });
  methods.Add<pb::DeleteRetainedRequest, pb::DeleteRetainedResponse>(
      kService, "Delete",
      [&broker](const Caller&, const pb::DeleteRetainedRequest& request, auto reply) {
        Delete(broker, request, std::move(reply));
      });
  methods.AddStream<pb::ExportRetainedRequest, pb::ExportRetainedResponse>(
      kService, "Export",
      [&broker](const Caller&, const pb::ExportRetainedRequest& request,
                const std::shared_ptr<Outlet>& outlet) { Export(broker, request, outlet); });
  methods.Add<pb::ImportRetainedRequest, pb::ImportRetainedResponse>(
      kService, "Import",
      [&broker, &inside](const Caller&, const pb::ImportRetainedRequest& request, auto reply) {
        Import(broker, inside, request, std::move(reply));
      });
}

}  // namespace admin
