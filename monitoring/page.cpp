#include "monitoring/page.hpp"

namespace fxfarm::monitoring {
namespace {

std::string type_of(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (name.ends_with(".svg")) return "image/svg+xml";
  return "application/octet-stream";
}

}  // namespace

http_routes page_routes() {
  http_routes routes;
  for (const auto& file : page_files()) {
    const auto path = file.name == "index.html" ? "/" : "/" + std::string(file.name);
    routes.push_back({"GET", path, [&file](const http_request&) {
                        return http_answer{200, type_of(file.name), std::string(file.content)};
                      }});
  }
  return routes;
}

}  // namespace fxfarm::monitoring
