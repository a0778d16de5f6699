# The functions that the CMakeLists.txt of every folder is made of.

# mqttd_library(NAME name [FAST_PATH] [SRCS file…] [DEPS layer…] [EXTERNAL target…] [PRIVATE target…])
#
# A layer. DEPS are layers of ours, EXTERNAL third-party targets that its headers may show,
# PRIVATE third-party targets that only its .cc files use. Without SRCS it is header-only.
# FAST_PATH: every message runs through it, so a release is optimised further, for a tenth of the
# user time per message. Not everywhere: GCC 12's warnings misfire on what it inlines then.
# Builds name_links too: all of the library's objects linked with its DEPS alone, so that a
# forgotten or forbidden dependency is a link error here and not in some program. Sanitizers would find
# nothing more by that.
function(mqttd_library)
  cmake_parse_arguments(ARG "FAST_PATH" "NAME" "SRCS;DEPS;EXTERNAL;PRIVATE" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS OR NOT ARG_NAME)
    message(FATAL_ERROR "mqttd_library: unexpected ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT ARG_SRCS)
    add_library(${ARG_NAME} INTERFACE)
    target_link_libraries(${ARG_NAME} INTERFACE mqttd_flags ${ARG_DEPS} ${ARG_EXTERNAL} ${ARG_PRIVATE})
    return()
  endif()
  add_library(${ARG_NAME} STATIC ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PUBLIC mqttd_flags ${ARG_DEPS} ${ARG_EXTERNAL} PRIVATE ${ARG_PRIVATE})
  if(ARG_FAST_PATH)
    target_compile_options(${ARG_NAME} PRIVATE $<$<CONFIG:Release>:-O3>)
  endif()
  if(MQTTD_BUILD_TESTS AND NOT MQTTD_SANITIZE)
    add_executable(${ARG_NAME}_links ${PROJECT_SOURCE_DIR}/cmake/empty_main.cc)
    target_link_libraries(${ARG_NAME}_links PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,${ARG_NAME}>)
    set_target_properties(${ARG_NAME}_links PROPERTIES
      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/links)
    if(CMAKE_CURRENT_SOURCE_DIR MATCHES "^${PROJECT_SOURCE_DIR}/src/")
      mqttd_headers(${ARG_NAME} SRCS ${ARG_SRCS} PRIVATE ${ARG_PRIVATE})
    endif()
  endif()
endfunction()

# mqttd_headers(NAME SRCS file…): each header in the folders of these files compiles by itself. x.cc and
# x_test.cc include x.h first (tools/tidy.py, rule `headers`); here those that have neither are
# compiled, each alone, as name_headers.
function(mqttd_headers NAME)
  cmake_parse_arguments(ARG "" "" "SRCS;PRIVATE" ${ARGN})
  set(folders "")
  foreach(source ${ARG_SRCS})
    cmake_path(GET source PARENT_PATH folder)
    list(APPEND folders "${CMAKE_CURRENT_SOURCE_DIR}/${folder}")
  endforeach()
  list(REMOVE_DUPLICATES folders)
  set(alone "")
  foreach(folder ${folders})
    file(GLOB headers CONFIGURE_DEPENDS "${folder}/*.h")
    foreach(header ${headers})
      cmake_path(RELATIVE_PATH header BASE_DIRECTORY ${PROJECT_SOURCE_DIR}/src OUTPUT_VARIABLE include)
      cmake_path(REMOVE_EXTENSION include OUTPUT_VARIABLE name)
      if(EXISTS ${PROJECT_SOURCE_DIR}/src/${name}.cc OR EXISTS ${PROJECT_SOURCE_DIR}/tests/${name}_test.cc)
        continue()
      endif()
      set(generated ${CMAKE_BINARY_DIR}/headers/${include}.cc)
      file(CONFIGURE OUTPUT ${generated} CONTENT "#include \"${include}\"\n" @ONLY)
      list(APPEND alone ${generated})
    endforeach()
  endforeach()
  if(NOT alone)
    return()
  endif()
  add_library(${NAME}_headers OBJECT ${alone})
  target_link_libraries(${NAME}_headers PRIVATE ${NAME} ${ARG_PRIVATE})
  target_compile_options(${NAME}_headers PRIVATE -O0 -g0)  # Nothing runs of them.
endfunction()

# mqttd_binary(NAME name SRCS file… DEPS layer… [EXTERNAL target…]): a program in bin/.
function(mqttd_binary)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS;EXTERNAL" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_link_libraries(${ARG_NAME} PRIVATE mqttd_flags ${ARG_DEPS} ${ARG_EXTERNAL})
endfunction()

# mqttd_test(NAME name SRCS file… DEPS layer… [EXTERNAL target…] [LABEL unit|spec|e2e] [TIMEOUT s])
#
# A googletest program, one ctest test per program: a process per case would cost more than
# the cases. Each run leaves build/PRESET/results/name.xml, from which `./dev test` counts cases.
# Include root is src/; helpers are "tests/support/…".
function(mqttd_test)
  cmake_parse_arguments(ARG "" "NAME;LABEL;TIMEOUT" "SRCS;DEPS;EXTERNAL" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS OR NOT ARG_NAME OR NOT ARG_SRCS)
    message(FATAL_ERROR "mqttd_test ${ARG_NAME}: NAME and SRCS are needed; unexpected ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(MQTTD_FUZZ)
    return()
  endif()
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * ${MQTTD_TEST_SLOWDOWN}")
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_include_directories(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PRIVATE mqttd_flags test_support ${ARG_DEPS} ${ARG_EXTERNAL}
    GTest::gmock GTest::gtest GTest::gmock_main)
  target_compile_definitions(${ARG_NAME} PRIVATE MQTTD_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME} --gtest_brief=1
    --gtest_output=xml:${CMAKE_BINARY_DIR}/results/${ARG_NAME}.xml)
  set_tests_properties(${ARG_NAME} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
  if(NOT ARG_LABEL STREQUAL unit)
    add_dependencies(${ARG_NAME} mqttd)  # It talks to the real broker.
  endif()
endfunction()

# mqttd_fuzzer(NAME name SRCS file… DEPS layer… [EXTERNAL target…] [RUNS n])
#
# A file with LLVMFuzzerTestOneInput. With MQTTD_FUZZ (preset fuzz) it becomes a libFuzzer program.
# Otherwise tests/support/fuzz_driver.cc runs the checked-in corpus, tests/fuzz/corpus/NAME, and RUNS
# seeded mutations of it, as a quick regression test (label fuzz-smoke).
function(mqttd_fuzzer)
  cmake_parse_arguments(ARG "" "NAME;RUNS" "SRCS;DEPS;EXTERNAL" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS OR NOT ARG_NAME OR NOT ARG_SRCS)
    message(FATAL_ERROR "mqttd_fuzzer ${ARG_NAME}: NAME and SRCS are needed; unexpected ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT ARG_RUNS)
    set(ARG_RUNS 20000)
  endif()
  set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${ARG_NAME})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_include_directories(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PRIVATE mqttd_flags test_support ${ARG_DEPS} ${ARG_EXTERNAL})
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  set_property(GLOBAL APPEND PROPERTY MQTTD_FUZZERS ${ARG_NAME})
  if(MQTTD_FUZZ)
    target_link_options(${ARG_NAME} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/fuzz_driver.cc)
    add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME} --runs=${ARG_RUNS} ${corpus})
    math(EXPR timeout "300 * ${MQTTD_TEST_SLOWDOWN}")
    set_tests_properties(${ARG_NAME} PROPERTIES LABELS fuzz-smoke TIMEOUT ${timeout})
  endif()
endfunction()

# mqttd_benchmark(NAME name SRCS file… DEPS layer…): a google-benchmark program in bench/.
function(mqttd_benchmark)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS;EXTERNAL" ${ARGN})
  if(MQTTD_FUZZ)
    return()
  endif()
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_include_directories(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PRIVATE mqttd_flags ${ARG_DEPS} ${ARG_EXTERNAL} benchmark::benchmark_main)
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endfunction()
