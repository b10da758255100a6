#pragma once
// Answers of a coordinator as text for people. The documents come from a peer: missing or odd fields show as "-",
// control characters as "?". A document that is no JSON object is a protocol error.

#include "runtime/error.hpp"

#include <string>
#include <vector>

namespace fxfarm::cli {

result<std::string> render_status(const std::string& document);
result<std::string> render_stats(const std::string& document);
result<std::string> render_reset(const std::string& document);
result<std::string> render_forgotten(const std::string& document);
result<std::string> render_graphs(const std::string& document);

// Columns padded to their widest cell, two spaces between; the first row is the head.
std::string render_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace fxfarm::cli
