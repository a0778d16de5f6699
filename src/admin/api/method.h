// The methods of the admin API by name, whatever protocol a call comes by: gRPC now, and JSON over
// HTTP. A service is a few handlers that it adds here.
#ifndef ADMIN_API_METHOD_H_
#define ADMIN_API_METHOD_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "mqttd/admin/v1/common.pb.h"
#include "storage/core/addresses.h"

namespace admin {

namespace pb = ::mqttd::admin::v1;

// Who calls, as it was established.
struct Caller {
  std::string name;     // Of the token or certificate; "local" without either.
  std::string address;  // Where from: "127.0.0.1:40312".
  pb::Role role = pb::ROLE_UNSPECIFIED;
  // Another node passes the call on; and which connection is meant, if that one knows it.
  bool passed_on = false;
  std::optional<storage::ConnectionRef> connection;
};

// How a handler answers a call that has one answer: once, on any thread, at once or later. After
// the caller has gone or lost patience it does nothing.
template <typename Response>
using Reply = std::function<void(absl::StatusOr<Response>)>;

// The sending end of a stream of answers. Any thread.
class Outlet {
 public:
  using Message = google::protobuf::Message;
  virtual ~Outlet() = default;

  // False: the caller reads too slowly and so much waits for it that there is no room, or it is
  // gone. Whoever sends leaves the message out, and says so later if the stream has words for it.
  virtual bool Send(const Message& message) = 0;
  // Nothing follows.
  virtual void End(absl::Status status) = 0;
  // Called once, when the caller has gone or the stream has ended, perhaps at once.
  virtual void OnGone(std::function<void()> gone) = 0;
  // Called, once for each time that this is set, when there is room after a Send that found none;
  // never, if the stream has ended.
  virtual void OnRoom(std::function<void()> room) = 0;
};

// One method. What is not of its kind is empty.
struct Method {
  using Message = google::protobuf::Message;
  using MessageReply = std::function<void(absl::Status, const Message*)>;

  const google::protobuf::MethodDescriptor* descriptor = nullptr;
  const Message* request = nullptr;  // A prototype.
  const Message* response = nullptr;
  // The least role that may call it. ROLE_UNSPECIFIED: anybody (health checks, reflection).
  pb::Role role = pb::ROLE_UNSPECIFIED;

  std::function<void(const Caller&, const Message& request, MessageReply)> once;
  std::function<void(const Caller&, const Message& request, std::shared_ptr<Outlet>)> stream;
  // An answer for each request of a stream, in their order.
  std::function<void(const Message& request, Message& response)> each;

  // Of mqttd's own, what only looks is not audited.
  bool audited() const { return role > pb::ROLE_VIEWER; }
  std::string name() const;  // "Clients/Kick".
};

class Methods {
 public:
  // `service`: "mqttd.admin.v1.Clients"; `method`: "Kick". The types are those of the .proto, which
  // is checked.
  template <typename Request, typename Response>
  void Add(std::string_view service, std::string_view method,
           std::function<void(const Caller&, const Request&, Reply<Response>)> handle) {
    Method& added =
        Insert(service, method, Request::default_instance(), Response::default_instance());
    added.once = [handle = std::move(handle)](const Caller& caller,
                                              const google::protobuf::Message& request,
                                              Method::MessageReply reply) {
      handle(caller, static_cast<const Request&>(request),
             [reply = std::move(reply)](const absl::StatusOr<Response>& response) {
               reply(response.status(), response.ok() ? &*response : nullptr);
             });
    };
  }

  template <typename Request, typename Response>
  void AddStream(
      std::string_view service, std::string_view method,
      std::function<void(const Caller&, const Request&, std::shared_ptr<Outlet>)> handle) {
    Method& added =
        Insert(service, method, Request::default_instance(), Response::default_instance());
    added.stream = [handle = std::move(handle)](const Caller& caller,
                                                const google::protobuf::Message& request,
                                                std::shared_ptr<Outlet> outlet) {
      handle(caller, static_cast<const Request&>(request), std::move(outlet));
    };
  }

  template <typename Request, typename Response>
  void AddEach(std::string_view service, std::string_view method,
               std::function<void(const Request&, Response&)> handle) {
    Method& added =
        Insert(service, method, Request::default_instance(), Response::default_instance());
    added.each = [handle = std::move(handle)](const google::protobuf::Message& request,
                                              google::protobuf::Message& response) {
      handle(static_cast<const Request&>(request), static_cast<Response&>(response));
    };
  }

  // All of another table, but for what is here by that name already.
  void AddRest(const Methods& others) {
    methods_.insert(others.methods_.begin(), others.methods_.end());
  }

  // By "/mqttd.admin.v1.Clients/Kick". Null: there is none.
  const Method* Find(std::string_view path) const;
  // The full names of all services, in order. A service is served whole: CHECKed.
  std::vector<std::string> services() const;

 private:
  Method& Insert(std::string_view service, std::string_view method,
                 const google::protobuf::Message& request,
                 const google::protobuf::Message& response);

  std::map<std::string, Method, std::less<>> methods_;
};

// One line in the log about a call that changes something, or was refused.
void Audit(const Method& method, const Caller& caller, const google::protobuf::Message* request,
           const absl::Status& outcome);

// A request in few words for the log: without what is secret, long values shortened.
std::string RequestInWords(const google::protobuf::Message& request);

// Refuses what the role does not allow.
absl::Status CheckRole(const Method& method, const Caller& caller);

// "viewer".
std::string_view RoleName(pb::Role role);

}  // namespace admin

#endif  // ADMIN_API_METHOD_H_
