// Who may call the admin API: tokens and client certificates, each with a role.
#ifndef ADMIN_API_ACCESS_H_
#define ADMIN_API_ACCESS_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "admin/api/method.h"
#include "base/mutex.h"
#include "config/config.h"

typedef struct x509_store_st X509_STORE;

namespace admin {

// What a caller shows of itself.
struct Evidence {
  std::string address;  // "127.0.0.1:40312".
  bool loopback = false;
  std::optional<std::string> token;
  std::string certificate_chain_pem;  // Empty: none was shown. Its key was proven by TLS.
};

// What access_file and ca_file say. Immutable.
//
// A line of access_file is one of
//   token NAME ROLE TOKEN            TOKEN has at least 16 characters, or is sha256:HEX of it
//   certificate COMMON-NAME ROLE
// ROLE is viewer, operator or admin; blank lines and those that begin with # are skipped.
class AccessTable {
 public:
  // Errors: kInvalidArgument, kNotFound …, a line for each mistake: "FILE:LINE: what is wrong".
  static absl::StatusOr<std::shared_ptr<const AccessTable>> Load(
      const config::AdminOptions& options);
  static absl::StatusOr<std::shared_ptr<const AccessTable>> Parse(std::string_view text,
                                                                  std::string_view file_name);

  // Who it is. Errors: kUnauthenticated, in words. Without tokens and certificates everybody who
  // comes from the machine itself is admin, and nobody else is anything.
  absl::StatusOr<Caller> Identify(const Evidence& evidence, absl::Time now) const;

 private:
  struct Known {
    std::string name;
    pb::Role role = pb::ROLE_UNSPECIFIED;
  };
  absl::StatusOr<Caller> IdentifyToken(const Evidence& evidence) const;
  absl::StatusOr<Caller> IdentifyCertificate(const Evidence& evidence, absl::Time now) const;

  bool has_file_ = false;
  absl::flat_hash_map<std::string, Known> tokens_;  // By SHA-256: comparing tells nothing of them.
  absl::flat_hash_map<std::string, pb::Role> certificates_;  // By common name.
  std::shared_ptr<X509_STORE> ca_;                           // Null: no certificates.
};

// The table in force. Any thread.
class Access {
 public:
  explicit Access(std::shared_ptr<const AccessTable> table) : table_(std::move(table)) {}
  void Use(std::shared_ptr<const AccessTable> table) {
    base::MutexLock lock(mutex_);
    table_ = std::move(table);
  }
  std::shared_ptr<const AccessTable> table() const {
    base::MutexLock lock(mutex_);
    return table_;
  }

 private:
  mutable base::Mutex mutex_;
  std::shared_ptr<const AccessTable> table_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace admin

#endif  // ADMIN_API_ACCESS_H_
