#pragma once
// What a browser calls a server by. The owner of another name may have it lead here (DNS rebinding); a script of theirs
// then reads, as of their own site, what is served to this host only.

#include <string>
#include <string_view>
#include <vector>

namespace fxfarm::monitoring {

// Whether nobody else can own what the header Host says, with or without a port: "localhost", an address, or nothing,
// which no browser says; or one of `names`, which its operator has vouched for.
bool names_this_host(std::string_view header, const std::vector<std::string>& names = {});

}  // namespace fxfarm::monitoring
