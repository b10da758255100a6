# Everything comes from the distribution's packages; scripts/packages names them.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(spdlog REQUIRED)
find_package(civetweb REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenSSL REQUIRED)
pkg_check_modules(hiredis REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(zmq REQUIRED IMPORTED_TARGET libzmq)

find_path(CAF_INCLUDE_DIR caf/all.hpp REQUIRED)
find_library(CAF_CORE_LIBRARY caf_core REQUIRED)
add_library(fxfarm_caf INTERFACE)
add_library(fxfarm::caf ALIAS fxfarm_caf)
target_include_directories(fxfarm_caf SYSTEM INTERFACE ${CAF_INCLUDE_DIR})
target_link_libraries(fxfarm_caf INTERFACE ${CAF_CORE_LIBRARY} Threads::Threads)
# CAF 0.17 looks through a null pointer to a tuple without members when an actor without arguments is spawned: harmless, and
# no check of the library's would let it pass (cmake/hardening.cmake).
target_compile_options(fxfarm_caf INTERFACE -U_GLIBCXX_ASSERTIONS)

# msgpack-c is header-only; Boost is not wanted for it.
find_path(MSGPACK_INCLUDE_DIR msgpack.hpp REQUIRED)
add_library(fxfarm_msgpack INTERFACE)
add_library(fxfarm::msgpack ALIAS fxfarm_msgpack)
target_include_directories(fxfarm_msgpack SYSTEM INTERFACE ${MSGPACK_INCLUDE_DIR})
target_compile_definitions(fxfarm_msgpack INTERFACE MSGPACK_NO_BOOST)

find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)

# Into the program, so that it needs no package of its own where it runs; sanitizers bring an allocator of theirs.
find_library(JEMALLOC_LIBRARY jemalloc_pic REQUIRED)
add_library(fxfarm_allocator INTERFACE)
add_library(fxfarm::allocator ALIAS fxfarm_allocator)
if(NOT FXFARM_SANITIZE)
  target_link_libraries(fxfarm_allocator INTERFACE ${JEMALLOC_LIBRARY} Threads::Threads ${CMAKE_DL_LIBS} m)
endif()

if(FXFARM_BENCH)
  find_package(benchmark REQUIRED)
  pkg_check_modules(grpc IMPORTED_TARGET grpc++_unsecure)
endif()
if(FXFARM_TESTS)
  find_package(GTest REQUIRED)
endif()
