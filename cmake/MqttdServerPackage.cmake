# What `cmake --install` puts in place of the broker (component server) and of mqttctl (tools), and the
# Debian package that `./dev package` makes: the same files, and those of deploy/debian (component debian).
include(GNUInstallDirs)

set(MQTTD_MAN_DIR ${CMAKE_BINARY_DIR}/man)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(man_page ${PROJECT_SOURCE_DIR}/tools/man_page.py)
# Instrumented programs are not installed, and not run while they are built.
if(NOT MQTTD_SANITIZE)
  set(with_all ALL)
endif()
set(man_docs ${PROJECT_SOURCE_DIR}/docs)
set(man_pages ${MQTTD_MAN_DIR}/mqttctl.1.gz ${MQTTD_MAN_DIR}/mqttd.8.gz ${MQTTD_MAN_DIR}/mqttd.yaml.5.gz)
add_custom_command(
  OUTPUT ${man_pages}
  COMMAND Python3::Interpreter -B ${man_page} --mqttd $<TARGET_FILE:mqttd>
    --mqttctl $<TARGET_FILE:mqttctl> --docs ${man_docs} --out ${MQTTD_MAN_DIR}
  DEPENDS mqttd mqttctl ${man_page} ${man_docs}/configuration.md ${man_docs}/mqttctl.md ${man_docs}/operations.md
  COMMENT "Manual pages" VERBATIM)
add_custom_target(man ${with_all} DEPENDS ${man_pages})

install(TARGETS mqttctl RUNTIME DESTINATION bin COMPONENT tools)
install(FILES ${MQTTD_MAN_DIR}/mqttctl.1.gz DESTINATION share/man/man1 COMPONENT tools)
install(FILES deploy/completion/mqttctl.bash DESTINATION share/bash-completion/completions RENAME mqttctl
  COMPONENT tools)

install(TARGETS mqttd RUNTIME DESTINATION bin COMPONENT server)
install(FILES deploy/systemd/mqttd.service DESTINATION lib/systemd/system COMPONENT server)
install(FILES deploy/systemd/mqttd.sysusers DESTINATION lib/sysusers.d RENAME mqttd.conf
  COMPONENT server)
install(FILES deploy/systemd/mqttd.tmpfiles DESTINATION lib/tmpfiles.d RENAME mqttd.conf
  COMPONENT server)
install(FILES ${MQTTD_MAN_DIR}/mqttd.8.gz DESTINATION share/man/man8 COMPONENT server)
install(FILES ${MQTTD_MAN_DIR}/mqttd.yaml.5.gz DESTINATION share/man/man5 COMPONENT server)
install(FILES deploy/completion/mqttd.bash DESTINATION share/bash-completion/completions RENAME mqttd
  COMPONENT server)
install(FILES deploy/completion/_mqttd DESTINATION share/zsh/vendor-completions COMPONENT server)

# Only Debian's: where its policy wants them, whatever the prefix.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/debian)
add_custom_command(
  OUTPUT ${CMAKE_BINARY_DIR}/debian/changelog.gz
  COMMAND Python3::Interpreter -B ${man_page} --compress ${PROJECT_SOURCE_DIR}/deploy/debian/changelog
    --out ${CMAKE_BINARY_DIR}/debian
  DEPENDS ${man_page} deploy/debian/changelog VERBATIM)
add_custom_target(debian_files ALL DEPENDS ${CMAKE_BINARY_DIR}/debian/changelog.gz)
install(FILES deploy/debian/mqttd.yaml DESTINATION /etc/mqttd COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES deploy/debian/copyright ${CMAKE_BINARY_DIR}/debian/changelog.gz
  DESTINATION /usr/share/doc/mqttd COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES deploy/debian/examples/acl deploy/debian/examples/tls.yaml
  DESTINATION /usr/share/doc/mqttd/examples COMPONENT debian EXCLUDE_FROM_ALL)

install(FILES deploy/monitoring/mqttd.rules.yaml deploy/monitoring/mqttd.dashboard.json
  DESTINATION /usr/share/doc/mqttd/monitoring COMPONENT debian EXCLUDE_FROM_ALL)

install(FILES deploy/haproxy/haproxy.cfg DESTINATION /usr/share/doc/mqttd/examples
  COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES deploy/haproxy/mqttd.yaml DESTINATION /usr/share/doc/mqttd/examples
  RENAME behind-haproxy.yaml COMPONENT debian EXCLUDE_FROM_ALL)

# Packing builds nothing: `./dev package` has built what it needs, which is not all.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME mqttd)
set(CPACK_PACKAGE_CONTACT "The mqttd authors <maintainers@mqttd.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL server tools debian)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "mosquitto-clients, haproxy")
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "MQTT 5.0 and 3.1.1 broker with durable sessions
mqttd is an MQTT broker for MQTT 5.0, 3.1.1 and 3.1 over TCP, TLS, WebSocket
and Unix sockets. What it has acknowledged at QoS 1 and 2 is on the disk and
survives a crash. It uses all processor cores, reads the password and access
rule files of mosquitto, and shows its state to Prometheus. With it comes
mqttctl, which publishes, subscribes and measures.

As installed it serves this machine only, at 127.0.0.1:1883.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/deploy/debian/conffiles
  ${PROJECT_SOURCE_DIR}/deploy/debian/postinst ${PROJECT_SOURCE_DIR}/deploy/debian/prerm
  ${PROJECT_SOURCE_DIR}/deploy/debian/postrm)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
include(CPack)
