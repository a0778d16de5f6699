// A certificate that the node itself goes by, beside those of its listeners.
#ifndef ADMIN_OWN_CERTIFICATE_H_
#define ADMIN_OWN_CERTIFICATE_H_

#include <cstdint>
#include <string>

namespace admin {

struct OwnCertificate {
  std::string used_by;  // "admin", "cluster".
  std::string file;
  int64_t expires_unix_s = 0;  // 0: the file cannot be read.
};

}  // namespace admin

#endif  // ADMIN_OWN_CERTIFICATE_H_
