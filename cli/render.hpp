#pragma once
// Answers of a coordinator as text for people. The documents come from a peer: missing or odd fields show as "-",
// control characters as "?". A document that is no JSON object is a protocol error.

#include "runtime/error.hpp"

#include <string>

namespace fxfarm::cli {

result<std::string> render_status(const std::string& document);
result<std::string> render_stats(const std::string& document);
result<std::string> render_reset(const std::string& document);
result<std::string> render_forgotten(const std::string& document);
result<std::string> render_graphs(const std::string& document);
result<std::string> render_explanation(const std::string& document);
result<std::string> render_drained(const std::string& document);

// Documents that this program makes of a directory of artifacts.
result<std::string> render_artifacts(const std::string& document);
result<std::string> render_collected(const std::string& document);
result<std::string> render_directory_report(const std::string& document);

}  // namespace fxfarm::cli
