#include "auth/verified_logins.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstring>
#include <string>

namespace auth {
namespace {

// Longer ones are verified each time: nobody's real password, and no work for a shard.
constexpr size_t kPasswordBytesMax = 1024;

void AppendField(std::string_view field, std::string& text) {
  const uint32_t size = static_cast<uint32_t>(field.size());
  text.append(reinterpret_cast<const char*>(&size), sizeof(size));
  text.append(field);
}

}  // namespace

VerifiedLogins::VerifiedLogins(Limits limits, const base::Clock& clock)
    : limits_(limits), clock_(clock) {
  usable_ = limits_.logins_max > 0 && RAND_bytes(key_.data(), static_cast<int>(key_.size())) == 1;
}

bool VerifiedLogins::MakeDigest(std::string_view user_name, std::string_view password,
                                const PasswordHash& stored, Digest& digest) const {
  if (!usable_ || password.size() > kPasswordBytesMax) return false;
  std::string text;
  AppendField(user_name, text);
  AppendField(stored.salt(), text);
  AppendField(stored.hash(), text);
  AppendField(password, text);
  unsigned int bytes = 0;
  std::array<uint8_t, EVP_MAX_MD_SIZE> mac;
  const bool made = HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
                         reinterpret_cast<const uint8_t*>(text.data()), text.size(), mac.data(),
                         &bytes) != nullptr &&
                    bytes == sizeof(Digest);
  OPENSSL_cleanse(text.data(), text.size());
  if (made) std::memcpy(digest.data(), mac.data(), sizeof(Digest));
  return made;
}

bool VerifiedLogins::Knows(std::string_view user_name, std::string_view password,
                           const PasswordHash& stored) {
  Digest digest;
  if (!MakeDigest(user_name, password, stored, digest)) return false;
  const int64_t now_ns = clock_.MonotonicNs();
  base::MutexLock lock(mutex_);
  const auto known = expires_at_ns_.find(digest);
  if (known == expires_at_ns_.end() || known->second <= now_ns) return false;
  hits_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void VerifiedLogins::Add(std::string_view user_name, std::string_view password,
                         const PasswordHash& stored) {
  Digest digest;
  if (!MakeDigest(user_name, password, stored, digest)) return;
  const int64_t now_ns = clock_.MonotonicNs();
  base::MutexLock lock(mutex_);
  ForgetExpired(now_ns);
  const int64_t expires_at_ns = now_ns + int64_t{limits_.kept_s} * 1'000'000'000;
  if (!expires_at_ns_.try_emplace(digest, expires_at_ns).second) return;
  oldest_first_.push_back(digest);
  if (oldest_first_.size() <= limits_.logins_max) return;
  expires_at_ns_.erase(oldest_first_.front());
  oldest_first_.pop_front();
}

// All are kept for the same time, so the oldest expire first.
void VerifiedLogins::ForgetExpired(int64_t now_ns) {
  while (!oldest_first_.empty()) {
    const auto oldest = expires_at_ns_.find(oldest_first_.front());
    if (oldest->second > now_ns) return;
    expires_at_ns_.erase(oldest);
    oldest_first_.pop_front();
  }
}

size_t VerifiedLogins::size() const {
  base::MutexLock lock(mutex_);
  return expires_at_ns_.size();
}

}  // namespace auth
