# `cmake --install BUILD --component embed`: the broker for other programs to embed. One archive beside
# that of the client library, which it needs (component client), its headers and the CMake target
# mqttd::embed. Third-party libraries are those of the system.
set(embed_layers storage_proto storage_core storage_leader storage auth_core auth broker_core broker_shard
  broker_transport broker cluster_proto cluster_raft cluster config node inside embed)
set(embed_objects $<FILTER:$<TARGET_OBJECTS:base>,INCLUDE,/log\\.cc>)  # The client's archive has the rest.
foreach(layer IN LISTS embed_layers)
  list(APPEND embed_objects $<TARGET_OBJECTS:${layer}>)
endforeach()
add_library(mqttd_embed STATIC ${embed_objects})
set_target_properties(mqttd_embed PROPERTIES
  LINKER_LANGUAGE CXX OUTPUT_NAME mqttd-embed EXPORT_NAME embed)
target_compile_features(mqttd_embed INTERFACE cxx_std_20)
target_link_libraries(mqttd_embed INTERFACE mqttd_client
  absl::btree absl::cleanup absl::flat_hash_map absl::flat_hash_set absl::hash absl::inlined_vector
  # Of the crate; it has no symbols but those of raft.h and of Rust.
  $<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_LIBDIR}/libmqttd_raft.a>
  -lrocksdb -lprotobuf -lyaml-cpp -lspdlog -lfmt -largon2)

install(TARGETS mqttd_embed EXPORT mqttdEmbedTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT embed)
install(FILES $<TARGET_PROPERTY:mqttd_raft,IMPORTED_LOCATION>
  DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT embed)
install(EXPORT mqttdEmbedTargets NAMESPACE mqttd:: DESTINATION ${package_dir} COMPONENT embed)
configure_file(${CMAKE_CURRENT_LIST_DIR}/package/mqttd-embed.pc.in
  ${CMAKE_BINARY_DIR}/package/mqttd-embed.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/package/mqttd-embed.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT embed)
mqttd_install_version_header(embed "the broker to embed")

# See MQTTD_CLIENT_HEADERS.
set(MQTTD_EMBED_HEADERS
  embed/hooks.h embed/scram.h embed/server.h)
install(CODE "
  set(headers \"${MQTTD_EMBED_HEADERS}\")
  set(source_dir \"${PROJECT_SOURCE_DIR}/src\")
  set(include_dir \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_INCLUDEDIR}/mqttd\")
  include(\"${CMAKE_CURRENT_LIST_DIR}/package/install_headers.cmake\")
" COMPONENT embed)
