#pragma once
// What a browser calls a server by. The owner of another name may have it lead here (DNS rebinding); a script of theirs
// then reads, as of their own site, what is served to this host only.

#include <string>
#include <string_view>

namespace fxfarm::monitoring {

// Whether nobody else can own what the header Host says, with or without a port: "localhost", an address, or nothing,
// which no browser says.
bool names_this_host(std::string_view header);

}  // namespace fxfarm::monitoring
