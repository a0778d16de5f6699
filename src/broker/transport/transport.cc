#include "broker/transport/transport.h"

#include <ostream>

namespace broker {

Transport::~Transport() = default;

std::ostream& operator<<(std::ostream& out, IoState state) {
  switch (state) {
    case IoState::kOk:
      return out << "ok";
    case IoState::kAgain:
      return out << "again";
    case IoState::kClosed:
      return out << "closed";
    case IoState::kError:
      break;
  }
  return out << "error";
}

}  // namespace broker
