// What no single key can say.
#include <bit>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "config/http_address.h"
#include "config/resolve.h"

namespace config {
namespace {

using broker::ListenerSettings;
using broker::TlsOptions;

// Looks at one listener after the other, and remembers what concerns all.
class WholeChecker {
 public:
  WholeChecker(Config& config, Errors& errors, std::vector<std::string>& warnings)
      : config_(config), errors_(errors), warnings_(warnings) {}

  void Run() {
    if (!std::has_single_bit(config_.storage.partitions)) {
      Fail("storage.partitions",
           absl::StrCat("must be a power of two, not ", config_.storage.partitions));
    }
    if (config_.storage.data_dir.empty()) Fail("data_dir", "names no directory");
    for (const ListenerSettings& listener : config_.broker.listeners) {
      all_local_ = all_local_ && Local(listener);
    }
    for (size_t i = 0; i < config_.broker.listeners.size(); ++i) {
      CheckAddress(i);
      CheckTls(i);
      CheckAccess(i);
    }
    CheckAdmin();
    CheckCluster();
  }

 private:
  // Behind a proxy the address says nothing about who comes in.
  static bool Local(const ListenerSettings& listener) {
    return listener.listener.url.loopback() && !listener.listener.proxy_protocol;
  }

  static std::string PathOf(size_t index, absl::string_view key) {
    return absl::StrCat("listeners.", index, ".", key);
  }

  void Fail(const std::string& path, absl::string_view what) {
    const Origin origin = OriginOf(config_, path);
    errors_.Add(origin.where.empty() ? std::string("configuration") : origin.where,
                absl::StrCat(path, ": ", what));
  }

  void Warn(const std::string& path, absl::string_view what) {
    const Origin origin = OriginOf(config_, path);
    warnings_.push_back(
        absl::StrCat(origin.where, origin.where.empty() ? "" : ": ", path, ": ", what));
  }

  void CheckAddress(size_t index) {
    const broker::ListenerUrl& url = config_.broker.listeners[index].listener.url;
    if (!url.unix_socket() && url.port == 0) return;
    const std::string address =
        url.unix_socket() ? url.path : absl::StrCat(url.host, " port ", url.port);
    if (!addresses_.insert(address).second) {
      Fail(PathOf(index, "url"), absl::StrCat("another listener has ", address, " already"));
    }
  }

  void CheckTls(size_t index) {
    const ListenerSettings& listener = config_.broker.listeners[index];
    const TlsOptions& tls = listener.listener.tls;
    const std::string url = listener.listener.url.ToString();
    const bool names_users =
        listener.auth.use_identity_as_username != auth::CertificateIdentity::kNone;
    if (!listener.listener.url.tls()) {
      CheckProxyNames(index);
      const std::string cert_path = PathOf(index, "cert_file");
      if (!tls.cert_file.empty() && OriginOf(config_, cert_path).source > Source::kInherited) {
        Warn(cert_path, absl::StrCat("has no effect: ", url, " has no TLS"));
      }
      return;
    }
    if (tls.cert_file.empty() || tls.key_file.empty()) {
      Fail(PathOf(index, "url"),
           absl::StrCat(url, " needs cert_file and key_file, in the listener or under tls"));
    }
    const bool asks = tls.client_certificate != TlsOptions::ClientCertificate::kOff;
    if (asks && tls.ca_file.empty()) {
      Fail(PathOf(index, "client_certificate"),
           "needs ca_file: who may sign clients' certificates");
    }
    for (const char* const key : {"ca_file", "crl_file"}) {
      const std::string& file = key == std::string_view("ca_file") ? tls.ca_file : tls.crl_file;
      if (asks || file.empty()) continue;
      Warn(PathOf(index, key), absl::StrCat("has no effect: ", url,
                                            " asks nobody for a certificate; set "
                                            "client_certificate: required (or optional)"));
    }
    if (names_users && !asks) {
      Fail(PathOf(index, "use_identity_as_username"),
           "needs client_certificate: required (or optional)");
    }
  }

  // Without TLS of its own a listener knows a certificate only from a proxy that has verified it; a
  // PROXY header has room for its Common Name.
  void CheckProxyNames(size_t index) {
    const ListenerSettings& listener = config_.broker.listeners[index];
    const auth::CertificateIdentity identity = listener.auth.use_identity_as_username;
    if (identity == auth::CertificateIdentity::kNone) return;
    if (!listener.listener.proxy_protocol) {
      Fail(PathOf(index, "use_identity_as_username"),
           absl::StrCat(listener.listener.url.ToString(),
                        " has no TLS, so there is no certificate to take a name from"));
    } else if (identity != auth::CertificateIdentity::kCn) {
      Fail(PathOf(index, "use_identity_as_username"),
           "a PROXY header has only the common name: cn");
    }
  }

  // Anonymous clients are let in without a word only where nobody else can come: as long as all
  // listeners are local and none has users.
  void CheckAccess(size_t index) {
    ListenerSettings& listener = config_.broker.listeners[index];
    const std::string path = PathOf(index, "allow_anonymous");
    const bool said = OriginOf(config_, path).source != Source::kDefault;
    if (NamesUsers(listener.auth) || (said && listener.auth.allow_anonymous)) return;
    if (said) {
      Warn(path, absl::StrCat("nobody can connect to ", listener.listener.url.ToString(),
                              ": there is no password_file either"));
    } else if (all_local_) {
      listener.auth.allow_anonymous = true;
    } else {
      Fail(PathOf(index, "url"),
           absl::StrCat("nothing says who may connect to ", listener.listener.url.ToString(),
                        Local(listener) ? " (and not all listeners are local)" : "",
                        ". Set password_file, or use_identity_as_username with client "
                        "certificates; or let everyone in with allow_anonymous: true "
                        "(--allow-anonymous)"));
    }
  }

  // Whoever calls the admin API can do everything with the broker.
  void CheckAdmin() {
    const AdminOptions& admin = config_.admin;
    const auto address = ParseHttpAddress(admin.listen, 9884);
    if (!address.ok() || address->off) return;
    const bool tls = !admin.cert_file.empty() && !admin.key_file.empty();
    if (!tls && (!admin.cert_file.empty() || !admin.key_file.empty())) {
      Fail(admin.cert_file.empty() ? "admin.key_file" : "admin.cert_file",
           "cert_file and key_file go together");
    }
    if (!tls && !admin.ca_file.empty()) {
      Fail("admin.ca_file", "callers have certificates only with TLS: set cert_file and key_file");
    }
    if (address->loopback()) return;
    if (admin.access_file.empty() && admin.ca_file.empty()) {
      Fail("admin.listen",
           absl::StrCat(admin.listen,
                        " can be reached from other machines, and nothing says who may steer the "
                        "broker. Set admin.access_file (tokens), or admin.ca_file with cert_file "
                        "and key_file (client certificates); or listen on 127.0.0.1"));
    } else if (!tls) {
      Warn("admin.listen",
           "tokens go over the network unencrypted: set admin.cert_file and admin.key_file");
    }
  }

  void CheckCluster() {
    const ClusterOptions& cluster = config_.cluster;
    if (!cluster.on()) {
      for (const auto& [key, given] :
           {std::pair("cluster.seeds", !cluster.seeds.empty()),
            std::pair("cluster.dns", !cluster.dns.empty()),
            std::pair("cluster.expected_size", cluster.expected_size != 0)}) {
        if (given)
          Fail(key, "needs cluster.listen (--cluster): where this node listens for others");
      }
      return;
    }
    const bool some =
        !cluster.cert_file.empty() || !cluster.key_file.empty() || !cluster.ca_file.empty();
    const bool all =
        !cluster.cert_file.empty() && !cluster.key_file.empty() && !cluster.ca_file.empty();
    if (some && !all) {
      Fail("cluster.cert_file", "TLS between nodes needs cert_file, key_file and ca_file together");
    }
    if (cluster.seeds.empty() && cluster.dns.empty() && cluster.expected_size > 1) {
      Fail("cluster.seeds",
           "nothing says where other nodes are: set cluster.seeds (--join) or cluster.dns; or "
           "cluster.expected_size: 1 for a cluster of one node, 0 for a node that waits to be told "
           "which cluster to join (mqttctl cluster join)");
    }
    CheckPacketSize("mqtt.maximum_packet_size", config_.mqtt);
    for (size_t i = 0; i < config_.broker.listeners.size(); ++i)
      CheckPacketSize(PathOf(i, "mqtt.maximum_packet_size"), config_.broker.listeners[i].limits);
  }

  // The default is what fits.
  void CheckPacketSize(const std::string& path, const broker::Limits& limits) {
    const bool said = OriginOf(config_, path).source > Source::kInherited;
    if (!said || limits.maximum_packet_size <= broker::kPacketSizeMaxInCluster) return;
    Fail(path, absl::StrCat("in a cluster it may be ", broker::kPacketSizeMaxInCluster, " (",
                            broker::kPacketSizeMaxInCluster >> 20,
                            "MiB) at most: what a packet carries goes from node to node in one "
                            "piece"));
  }

  Config& config_;
  Errors& errors_;
  std::vector<std::string>& warnings_;
  bool all_local_ = true;
  std::set<std::string> addresses_;
};

}  // namespace

bool NamesUsers(const auth::AuthOptions& auth) {
  return !auth.password_file.empty() ||
         auth.use_identity_as_username != auth::CertificateIdentity::kNone;
}

void CheckWhole(Config& config, Errors& errors, std::vector<std::string>& warnings) {
  WholeChecker(config, errors, warnings).Run();
}

}  // namespace config
