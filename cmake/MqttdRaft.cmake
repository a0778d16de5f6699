# mqttd_raft: the crate in src/cluster/raft (raft-rs behind raft.h), built by cargo as a static library.
#
# Cargo.lock pins every crate by its checksum. They come from where cargo is configured to get them
# (crates.io, or a mirror, or what `cargo vendor` made), once: then it builds without a network.
find_program(MQTTD_CARGO cargo REQUIRED)
set(cargo_needed 1.85)  # As rust-version in Cargo.toml.
execute_process(COMMAND ${MQTTD_CARGO} --version OUTPUT_VARIABLE cargo_version)
if(NOT cargo_version MATCHES "cargo ([0-9.]+)" OR CMAKE_MATCH_1 VERSION_LESS cargo_needed)
  message(FATAL_ERROR "${MQTTD_CARGO} is \"${cargo_version}\", older than ${cargo_needed}. "
    "Debian 12 has a newer one in cargo-web and rustc-web, in place of cargo and rustc.")
endif()
set(crate ${PROJECT_SOURCE_DIR}/src/cluster/raft)
# All presets share what cargo has built: it is the same for each of them.
cmake_path(GET CMAKE_BINARY_DIR PARENT_PATH parent)
if(parent STREQUAL ${PROJECT_SOURCE_DIR}/build)
  set(target_dir ${parent}/cargo)
else()
  set(target_dir ${CMAKE_BINARY_DIR}/cargo)
endif()
set(library ${target_dir}/release/libmqttd_raft.a)
file(GLOB sources CONFIGURE_DEPENDS ${crate}/src/*.rs)
add_custom_command(
  OUTPUT ${library}
  COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${target_dir} PROTOC=$<TARGET_FILE:protobuf::protoc>
    ${MQTTD_CARGO} build --release --locked --quiet --manifest-path ${crate}/Cargo.toml
  COMMAND ${CMAKE_COMMAND} -E touch ${library}  # Cargo leaves it alone if another preset was first.
  DEPENDS ${sources} ${crate}/Cargo.toml ${crate}/Cargo.lock
  COMMENT "Crate mqttd_raft" VERBATIM)
add_custom_target(mqttd_raft_crate DEPENDS ${library})
add_library(mqttd_raft STATIC IMPORTED GLOBAL)
set_target_properties(mqttd_raft PROPERTIES
  IMPORTED_LOCATION ${library}
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m;gcc_s")
add_dependencies(mqttd_raft mqttd_raft_crate)
