#pragma once

#include <string>
#include <vector>

namespace weft::decide {

// Why a request was routed as it was: what `explain` shows. Filled by RouteTable::Match when asked for, which is slow.
// Owner: the caller. Thread: the caller's.
struct Trace {
  struct Considered {
    int index = 0;        // in the virtual host
    std::string route;    // its name, may be empty
    std::string match;    // "prefix \"/api\""
    std::string why_not;  // empty for the one that matched
  };
  std::string host_looked_up;  // as compared: without port when ignore_port_in_host_matching
  std::string virtual_host;    // empty: none has a domain that matches
  std::string domain;          // the one that matched
  std::vector<Considered> considered;
  std::string outcome;         // "cluster a (weight 10 of 100)", "redirect 301", "no route matches", ...
};

}  // namespace weft::decide
