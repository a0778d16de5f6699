# Compiler, flags and linker, the same for every target of the project.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug or Release" FORCE)
endif()
# Debug keeps every assertion; Release keeps CHECK. Line tables are enough for a stack trace.
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -D_GLIBCXX_ASSERTIONS")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")

find_program(MQTTD_CCACHE ccache)
if(MQTTD_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${MQTTD_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${MQTTD_CCACHE})
endif()
find_program(MQTTD_MOLD mold)
if(MQTTD_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# Usage requirements of our own code. Third-party and generated code does not get them.
add_library(mqttd_flags INTERFACE)
# Fields left out of a designated initializer have their default: that is what it is for.
target_compile_options(mqttd_flags INTERFACE -Wall -Wextra -Wconversion -Wshadow
  -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC only: clang builds are for fuzzing and for -Wthread-safety, and warn about other things.
  target_compile_options(mqttd_flags INTERFACE -Werror)
else()
  target_compile_options(mqttd_flags INTERFACE -Wthread-safety -Werror=thread-safety)
endif()
target_include_directories(mqttd_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)

set(MQTTD_TEST_SLOWDOWN 1)  # What a test's time limit is multiplied by.
if(MQTTD_SANITIZE)
  set(MQTTD_TEST_SLOWDOWN 4)
  # -Wmaybe-uninitialized and friends misfire on instrumented code (GCC bug 105562 among others).
  set(sanitize -fsanitize=${MQTTD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_compile_options(${sanitize})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow
      -Wno-tsan)  # Asio's fences, between threads that it does not have here.
    # Instrumented code takes GCC a third less to compile than at -O1, and runs about as fast.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Og>)
  endif()
  add_link_options(${sanitize})
endif()
