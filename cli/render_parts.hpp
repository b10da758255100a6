#pragma once
// The cells and tables that answers are rendered from. What comes from a peer may be missing or odd: it shows as "-".

#include "runtime/error.hpp"

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace fxfarm::cli {

// Errors: protocol for what is no JSON object.
result<nlohmann::json> parse_object(const std::string& document);

// A null when the object has no such key, or is none.
const nlohmann::json& at(const nlohmann::json& object, const char* key);

std::string cell(const nlohmann::json& value);
std::string cell(const nlohmann::json& object, const char* key);
std::string byte_cell(const nlohmann::json& value);
// The first characters of the key in that field, without the namespace before it.
std::string key_cell(const nlohmann::json& object, const char* field);
// Of a worker: "busy", and when it is kept for a job that waits for its memory, which that is.
std::string state_cell(const nlohmann::json& worker);
// Of a worker: "1 of 2" GPUs that jobs have, or memory that is free for them; "-" where there are none, or it is not
// counted.
std::string gpus_cell(const nlohmann::json& worker);
std::string memory_cell(const nlohmann::json& worker);
std::string platform_cell(const nlohmann::json& platform);
std::string time_cell(const nlohmann::json& unix_seconds);
// "12 s", "3 min", "5.2 h", for a time that has passed.
std::string duration_cell(const nlohmann::json& seconds);
// "name value, name value" for the numbers of an object.
std::string summary(const nlohmann::json& object);

// Columns padded to their widest cell, two spaces between; the first row is the head.
std::string render_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace fxfarm::cli
