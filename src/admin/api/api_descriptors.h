// The .proto files of the admin API with their comments: a google.protobuf.FileDescriptorSet, which
// the build embeds (proto/CMakeLists.txt).
#ifndef ADMIN_API_API_DESCRIPTORS_H_
#define ADMIN_API_API_DESCRIPTORS_H_

#include <cstddef>

namespace admin {

extern const unsigned char kApiDescriptors[];
extern const size_t kApiDescriptorsSize;

}  // namespace admin

#endif  // ADMIN_API_API_DESCRIPTORS_H_
