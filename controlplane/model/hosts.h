#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weft::ctl {

// Istio's rule for names in resources: a name without a dot is a service of `ns`: "reviews" in "default" is
// "reviews.default.svc.cluster.local". Everything else is taken as it is.
std::string FullHost(std::string_view host, std::string_view ns, std::string_view domain_suffix);

// The names by which a program in `client_ns` may call `host`, longest first, without ports. A service of the mesh has
// short names: "reviews.default.svc", "reviews.default", and "reviews" within its own namespace.
std::vector<std::string> HostAliases(std::string_view host, std::string_view client_ns, std::string_view domain_suffix);

// `host` itself, then each wildcard that covers it, most specific first: "a.b.c" -> "a.b.c", "*.b.c", "*.c", "*".
std::vector<std::string> HostAndWildcards(std::string_view host);

// "default" of "reviews.default.svc.cluster.local"; empty for other hosts.
std::string NamespaceOfHost(std::string_view host, std::string_view domain_suffix);

}  // namespace weft::ctl
