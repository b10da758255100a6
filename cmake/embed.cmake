# cmake -D OUTPUT=FILE.cpp -P embed.cmake -- FILE...: writes a source that holds those files, byte by byte, as
# monitoring::page_files().
set(files)
set(behind OFF)
foreach(i RANGE ${CMAKE_ARGC})
  if(behind AND i LESS CMAKE_ARGC)
    list(APPEND files "${CMAKE_ARGV${i}}")
  elseif("${CMAKE_ARGV${i}}" STREQUAL "--")
    set(behind ON)
  endif()
endforeach()

set(arrays "")
set(table "")
set(number 0)
foreach(file IN LISTS files)
  file(READ "${file}" hex HEX)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${hex}")
  get_filename_component(name "${file}" NAME)
  string(APPEND arrays "constexpr char file_${number}[] = {${bytes}};\n")
  string(APPEND table "    {\"${name}\", {file_${number}, sizeof file_${number}}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUTPUT}" "// Written by cmake/embed.cmake.
#include \"monitoring/page.hpp\"

namespace fxfarm::monitoring {
namespace {

${arrays}
constexpr page_file files[] = {
${table}};

}  // namespace

std::span<const page_file> page_files() {
  return files;
}

}  // namespace fxfarm::monitoring
")
