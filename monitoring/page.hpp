#pragma once
// The files of the status page, which lie in monitoring/page/ and are part of the program.

#include "monitoring/http.hpp"

#include <span>
#include <string_view>

namespace fxfarm::monitoring {

struct page_file {
  std::string_view name;  // "page.js"
  std::string_view content;
};

// Made from the files by cmake/embed.cmake.
std::span<const page_file> page_files();

// "/" is index.html, the others have their names. What they ask for lies under /api/, which is not among them.
http_routes page_routes();

}  // namespace fxfarm::monitoring
