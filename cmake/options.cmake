# Flags that every target of the project is built with.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(FXFARM_CCACHE ccache)
if(FXFARM_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${FXFARM_CCACHE})
endif()
find_program(FXFARM_MOLD mold)
if(FXFARM_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# The client's library takes parts of others in; it must not ask for what only the rest needs, such as TLS for Redis.
add_link_options(-Wl,--as-needed)

# For these folders only: a project that takes fxfarm in has warnings of its own.
# GCC 12 sees overlaps in string concatenations that are none (its bug 105651).
add_compile_options(-Wall -Wextra -Wpedantic -Werror $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)

add_library(fxfarm_options INTERFACE)
add_library(fxfarm::options ALIAS fxfarm_options)
target_compile_features(fxfarm_options INTERFACE cxx_std_20)
target_include_directories(fxfarm_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)

if(FXFARM_SANITIZE)
  # vptr is off because CAF 0.17's own task queue casts down before construction ends.
  add_compile_options(-fsanitize=${FXFARM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize=vptr)
  add_link_options(-fsanitize=${FXFARM_SANITIZE})
endif()

include(${CMAKE_CURRENT_LIST_DIR}/hardening.cmake)

# fxfarm_library(name SOURCES ... PUBLIC ... PRIVATE ...): one folder, one static library, one alias.
function(fxfarm_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(fxfarm_${name} STATIC ${arg_SOURCES})
  add_library(fxfarm::${name} ALIAS fxfarm_${name})
  target_link_libraries(fxfarm_${name} PUBLIC fxfarm::options ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
endfunction()
