# `cmake --install BUILD --component client`: the client library for other programs. One archive, the
# headers that users include, a CMake package (find_package(mqttd COMPONENTS client)), pkg-config.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# base's log is for the broker and brings a library of its own.
add_library(mqttd_client STATIC
  $<FILTER:$<TARGET_OBJECTS:base>,EXCLUDE,/log\\.cc> $<TARGET_OBJECTS:mqtt>
  $<TARGET_OBJECTS:client_core> $<TARGET_OBJECTS:client>)
set_target_properties(mqttd_client PROPERTIES
  LINKER_LANGUAGE CXX OUTPUT_NAME mqttd-client EXPORT_NAME client)
target_compile_features(mqttd_client INTERFACE cxx_std_20)
target_include_directories(mqttd_client INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(mqttd_client INTERFACE
  absl::any_invocable absl::flat_hash_map absl::flat_hash_set absl::hash absl::inlined_vector
  absl::span absl::status absl::statusor absl::str_format absl::strings absl::time
  Boost::headers OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
# See src/client/CMakeLists.txt.
target_compile_options(mqttd_client INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mqttd)
install(TARGETS mqttd_client EXPORT mqttdClientTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT client)
install(EXPORT mqttdClientTargets NAMESPACE mqttd:: DESTINATION ${package_dir} COMPONENT client)

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/package/mqttdConfig.cmake.in
  ${CMAKE_BINARY_DIR}/package/mqttdConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/mqttdConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/package/mqttdConfig.cmake
  ${CMAKE_BINARY_DIR}/package/mqttdConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT client)

file(RELATIVE_PATH pkgconfig_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/package/mqttd-client.pc.in
  ${CMAKE_BINARY_DIR}/package/mqttd-client.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/package/mqttd-client.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT client)

# The version header of a component: mqttd/COMPONENT/version.h.
function(mqttd_install_version_header component package_words)
  string(TOUPPER ${component} package_name)
  configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/package/version.h.in
    ${CMAKE_BINARY_DIR}/package/${component}/version.h @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/package/${component}/version.h
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mqttd/${component} COMPONENT ${component})
endfunction()
mqttd_install_version_header(client "the client library")

# What users may include; all that these include in turn is among them (a test checks it). They stand
# below mqttd/, so that their names cannot meet those of others.
set(MQTTD_CLIENT_HEADERS
  client/authenticator.h client/blocking_client.h client/client.h client/file_store.h
  client/scram.h client/stream.h client/trace.h
  client/core/endpoint.h client/core/message.h client/core/options.h client/core/round_trip.h
  client/core/store.h
  mqtt/reason_code.h mqtt/types.h)
install(CODE "
  set(headers \"${MQTTD_CLIENT_HEADERS}\")
  set(source_dir \"${PROJECT_SOURCE_DIR}/src\")
  set(include_dir \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_INCLUDEDIR}/mqttd\")
  include(\"${CMAKE_CURRENT_LIST_DIR}/package/install_headers.cmake\")
" COMPONENT client)
