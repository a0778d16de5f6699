#include "broker/transport/transport.h"

#include <sys/ioctl.h>

namespace broker {

Transport::~Transport() = default;

bool Transport::HasUnreadInput() const {
  int bytes = 0;
  return ioctl(fd(), FIONREAD, &bytes) == 0 && bytes > 0;
}

}  // namespace broker
