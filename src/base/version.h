// The version of this build, as in CMakeLists.txt.
#ifndef BASE_VERSION_H_
#define BASE_VERSION_H_

namespace base {

extern const char kVersion[];  // "1.2.3"

}  // namespace base

#endif  // BASE_VERSION_H_
