# Third-party libraries, all from the distribution (tools/packages.txt). Names to use in EXTERNAL.
find_package(Threads REQUIRED)
find_package(absl REQUIRED)                  # absl::status …
find_package(Boost 1.81 REQUIRED)            # Boost::headers (Asio, Beast)
find_package(OpenSSL 3.0 REQUIRED)           # OpenSSL::SSL OpenSSL::Crypto
find_package(RocksDB REQUIRED)               # rocksdb
find_package(Protobuf REQUIRED)              # protobuf::libprotobuf
find_package(gRPC CONFIG REQUIRED)            # gRPC::grpc++
find_package(yaml-cpp REQUIRED)              # yaml-cpp
find_package(spdlog REQUIRED)                # spdlog::spdlog
find_package(prometheus-cpp REQUIRED)        # prometheus-cpp::core
find_package(nlohmann_json REQUIRED)         # nlohmann_json::nlohmann_json
find_package(CLI11 REQUIRED)                # CLI11::CLI11
find_package(PkgConfig REQUIRED)
pkg_check_modules(argon2 REQUIRED IMPORTED_TARGET GLOBAL libargon2)  # PkgConfig::argon2

# The shared RocksDB and yaml-cpp, under names of one form.
add_library(rocksdb INTERFACE)
target_link_libraries(rocksdb INTERFACE RocksDB::rocksdb-shared)

if(MQTTD_BUILD_TESTS)
  find_package(GTest REQUIRED)               # GTest::gtest GTest::gmock
  find_package(benchmark REQUIRED)           # benchmark::benchmark_main
endif()
