#pragma once

#include <string>

namespace weft::ctl {

// What holds for the mesh as a whole.
struct MeshOptions {
  std::string domain_suffix = "cluster.local";
  std::string trust_domain = "cluster.local";
  // Access log of proxies that name none in their metadata (ACCESS_LOG); empty: none.
  std::string access_log;
};

}  // namespace weft::ctl
