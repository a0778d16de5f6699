// Addresses of a connected or listening socket, as text.
#ifndef BROKER_TRANSPORT_SOCKET_ADDRESS_H_
#define BROKER_TRANSPORT_SOCKET_ADDRESS_H_

#include "broker/transport/transport.h"

namespace broker {

// Fills both addresses and ports of `info` from the kernel; leaves empty what it does not know.
// An IPv4 client of an IPv6 socket is written as IPv4.
void ReadSocketAddresses(int fd, PeerInfo& info);

}  // namespace broker
#endif  // BROKER_TRANSPORT_SOCKET_ADDRESS_H_
