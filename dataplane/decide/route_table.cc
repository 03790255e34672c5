#include "dataplane/decide/route_table.h"

#include <algorithm>
#include <charconv>

#include "dataplane/base/strings.h"

namespace weft::decide {
namespace {

// SplitMix64's finalizer: a number of one's own from a shared one.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Two routes of 50 % each, one behind the other, have to take 50 % and 25 %: with one number for both, the second would
// never match.
uint64_t RouteRandom(uint64_t random, size_t route) { return Mix(random + (route + 1) * 0x9e3779b97f4a7c15u); }

std::string DescribeOutcome(const RouteMatch& match) {
  if (match.vhost == nullptr) return "no virtual host has a domain that matches";
  if (match.route == nullptr) return "no route matches";
  const RouteAction& action = match.route->action;
  switch (action.kind) {
    case RouteAction::Kind::kCluster:
      return StrCat("cluster ", match.cluster);
    case RouteAction::Kind::kClusterHeader:
      return match.cluster.empty() ? StrCat("no cluster: header ", action.cluster, " is not there")
                                   : StrCat("cluster ", match.cluster, " (header ", action.cluster, ")");
    case RouteAction::Kind::kWeightedClusters: {
      const WeightedCluster* previous = match.weighted == action.weighted.data() ? nullptr : match.weighted - 1;
      return StrCat("cluster ", match.cluster, " (weight ",
                    match.weighted->upper - (previous == nullptr ? 0 : previous->upper), " of ", action.total_weight,
                    ")");
    }
    case RouteAction::Kind::kRedirect:
      return StrCat("redirect ", action.redirect->status);
    case RouteAction::Kind::kDirectResponse:
      return StrCat("direct response ", action.direct_response->status);
  }
  return "";
}

}  // namespace

const Route* RouteTable::FindRoute(const VirtualHost& vhost, const RequestView& request, const SplitPath& path,
                                   uint64_t random) const {
  auto linear = [&]() -> const Route* {
    for (size_t i = 0; i < vhost.routes.size(); ++i) {
      if (vhost.routes[i].match.Matches(request, path, RouteRandom(random, i))) return &vhost.routes[i];
    }
    return nullptr;
  };
  if (vhost.index.empty() && vhost.folded_index.empty()) return linear();

  RouteIndex::Cursor cursors[RouteIndex::kMaxCursors];
  size_t count = 0;
  if (!vhost.index.Find(path.path, cursors, &count) || !vhost.folded_index.Find(path.path, cursors, &count)) {
    return linear();
  }
  // The first in the order of the configuration wins, whichever list it is in.
  while (count > 0) {
    size_t first = 0;
    for (size_t i = 1; i < count; ++i) {
      if (*cursors[i].at < *cursors[first].at) first = i;
    }
    const uint32_t candidate = *cursors[first].at;
    const Route& route = vhost.routes[candidate];
    if (route.match.Matches(request, path, RouteRandom(random, candidate))) return &route;
    if (++cursors[first].at == cursors[first].end) cursors[first] = cursors[--count];
  }
  return nullptr;
}

const Route* RouteTable::FindRouteTraced(const VirtualHost& vhost, const RequestView& request, const SplitPath& path,
                                         uint64_t random, Trace* trace) const {
  for (size_t i = 0; i < vhost.routes.size(); ++i) {
    const Route& route = vhost.routes[i];
    std::string why_not = route.match.WhyNot(request, path, RouteRandom(random, i));
    const bool matches = why_not.empty();
    trace->considered.push_back({static_cast<int>(i), route.name, route.match.DescribePath(), std::move(why_not)});
    if (matches) return &route;
  }
  return nullptr;
}

void RouteTable::PickCluster(const RequestView& request, uint64_t random, RouteMatch* match) {
  const RouteAction& action = match->route->action;
  switch (action.kind) {
    case RouteAction::Kind::kCluster:
      match->cluster = action.cluster;
      return;
    case RouteAction::Kind::kClusterHeader:
      match->cluster = request.Header(action.cluster).value_or(std::string_view());
      return;
    case RouteAction::Kind::kWeightedClusters: {
      if (!action.weight_header.empty()) {
        std::string_view text = request.Header(action.weight_header).value_or(std::string_view());
        uint64_t n = 0;
        auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
        if (error == std::errc() && end == text.data() + text.size()) random = n;
      }
      const uint64_t point = random % action.total_weight;
      auto it = std::upper_bound(action.weighted.begin(), action.weighted.end(), point,
                                 [](uint64_t p, const WeightedCluster& w) { return p < w.upper; });
      match->weighted = &*it;
      match->cluster = it->cluster;
      return;
    }
    case RouteAction::Kind::kRedirect:
    case RouteAction::Kind::kDirectResponse:
      return;
  }
}

RouteMatch RouteTable::Match(const RequestView& request, uint64_t random, Trace* trace) const {
  RouteMatch match;
  const std::string_view host = ignore_port_ ? HostWithoutPort(request.authority) : request.authority;
  const uint32_t found = hosts_.Find(host);
  const SplitPath path = Split(request.path);
  if (found != VirtualHostIndex::kNone) {
    match.vhost = &virtual_hosts_[found];
    match.route = trace == nullptr ? FindRoute(*match.vhost, request, path, random)
                                   : FindRouteTraced(*match.vhost, request, path, random, trace);
    if (match.route != nullptr) PickCluster(request, random, &match);
  }
  if (trace != nullptr) {
    trace->host_looked_up = std::string(host);
    if (match.vhost != nullptr) {
      trace->virtual_host = match.vhost->name;
      VirtualHostIndex domains;
      for (size_t i = 0; i < match.vhost->domains.size(); ++i) {
        domains.Add(match.vhost->domains[i], static_cast<uint32_t>(i));
      }
      domains.Seal();
      trace->domain = match.vhost->domains[domains.Find(host)];
    }
    trace->outcome = DescribeOutcome(match);
  }
  return match;
}

const FilterConfig* RouteTable::FindFilterConfig(const RouteMatch& match, std::string_view filter_name) const {
  const FilterConfig* found = nullptr;
  ForEachFilterConfig(match, filter_name, [&](const FilterConfig& c) { found = &c; });
  return found;
}

}  // namespace weft::decide
