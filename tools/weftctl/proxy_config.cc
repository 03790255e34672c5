#include "tools/weftctl/proxy_config.h"

#include <rapidjson/document.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>
#include <algorithm>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/cpp/names.h"
#include "api/cpp/suggest.h"
#include "tools/weftctl/dev/commands.h"
#include "tools/weftctl/dev/state.h"
#include "tools/weftctl/http_get.h"

namespace weft::cli {
namespace {

using rapidjson::Value;

// Null-safe access to JSON: a missing member is a null value, whose members are null too.
const Value& At(const Value& value, const char* name) {
  static const Value* const null = new Value();
  if (!value.IsObject()) return *null;
  const auto member = value.FindMember(name);
  return member == value.MemberEnd() ? *null : member->value;
}

template <typename... Names>
const Value& At(const Value& value, const char* first, Names... rest) {
  return At(At(value, first), rest...);
}

std::string Text(const Value& value) {
  if (value.IsString()) return value.GetString();
  if (value.IsBool()) return value.GetBool() ? "true" : "false";
  if (value.IsUint64()) return absl::StrCat(value.GetUint64());
  if (value.IsInt64()) return absl::StrCat(value.GetInt64());
  if (value.IsDouble()) return absl::StrCat(value.GetDouble());
  return "";
}

template <typename Visit>
void Each(const Value& list, Visit visit) {
  if (!list.IsArray()) return;
  for (const auto& item : list.GetArray()) visit(item);
}

std::string Shorten(const std::string& text, size_t length) {
  return text.size() <= length ? text : text.substr(0, length - 3) + "...";
}

// Calls `visit` with each resource of the dump whose section's type ends with `section`: what is
// active, static or dynamic.
template <typename Visit>
void EachResource(const Value& dump, const char* section, const char* resource,
                  const std::vector<const char*>& lists, Visit visit) {
  Each(At(dump, "configs"), [&](const Value& config) {
    if (!absl::EndsWith(Text(At(config, "@type")), section)) return;
    for (const char* list : lists) {
      Each(At(config, list), [&](const Value& item) {
        const Value& active = At(item, "active_state");
        const Value& holder = active.IsObject() ? active : item;
        if (At(holder, resource).IsObject()) visit(At(holder, resource), holder);
      });
    }
  });
}

// "prefix /api, header end-user", "path /login", "*"
std::string DescribeMatch(const Value& match) {
  std::vector<std::string> parts;
  for (const auto& [field, word] :
       {std::pair{"prefix", ""}, {"path", "= "}, {"path_separated_prefix", "under "}}) {
    if (At(match, field).IsString())
      parts.push_back(
          absl::StrCat(word, Text(At(match, field)), std::string(field) == "prefix" ? "*" : ""));
  }
  if (At(match, "safe_regex").IsObject())
    parts.push_back("~ " + Text(At(match, "safe_regex", "regex")));
  Each(At(match, "headers"),
       [&](const Value& header) { parts.push_back("header " + Text(At(header, "name"))); });
  Each(At(match, "query_parameters"),
       [&](const Value& parameter) { parts.push_back("query " + Text(At(parameter, "name"))); });
  return absl::StrJoin(parts, ", ");
}

std::string DescribeAction(const Value& route) {
  const Value& action = At(route, "route");
  if (At(action, "cluster").IsString()) return Text(At(action, "cluster"));
  if (At(action, "weighted_clusters").IsObject()) {
    std::vector<std::string> parts;
    Each(At(action, "weighted_clusters", "clusters"), [&](const Value& cluster) {
      parts.push_back(absl::StrCat(Text(At(cluster, "name")), " ", Text(At(cluster, "weight"))));
    });
    return absl::StrJoin(parts, ", ");
  }
  if (At(action, "cluster_header").IsString())
    return "cluster of header " + Text(At(action, "cluster_header"));
  if (At(route, "redirect").IsObject()) return "redirect";
  if (At(route, "direct_response").IsObject())
    return "answers " + Text(At(route, "direct_response", "status"));
  if (At(route, "non_forwarding_action").IsObject()) return "not forwarded";
  return "";
}

Table Listeners(const Value& dump, const std::string& filter) {
  Table table({"NAME", "ADDRESS", "PORT", "FILTERS", "ROUTES"});
  EachResource(dump, ".ListenersConfigDump", "listener", {"static_listeners", "dynamic_listeners"},
               [&](const Value& listener, const Value&) {
                 const std::string name = Text(At(listener, "name"));
                 if (name.find(filter) == std::string::npos) return;
                 std::vector<std::string> filters, routes;
                 const auto chain = [&](const Value& one) {
                   Each(At(one, "filters"), [&](const Value& each) {
                     std::string short_name = Text(At(each, "name"));
                     if (const size_t dot = short_name.rfind('.'); dot != std::string::npos)
                       short_name = short_name.substr(dot + 1);
                     filters.push_back(short_name);
                     const Value& config = At(each, "typed_config");
                     if (At(config, "rds").IsObject())
                       routes.push_back(Text(At(config, "rds", "route_config_name")));
                     if (At(config, "route_config").IsObject())
                       routes.push_back("inline " + Text(At(config, "route_config", "name")));
                   });
                 };
                 Each(At(listener, "filter_chains"), chain);
                 if (At(listener, "default_filter_chain").IsObject())
                   chain(At(listener, "default_filter_chain"));
                 filters.erase(std::unique(filters.begin(), filters.end()), filters.end());
                 const Value& address = At(listener, "address", "socket_address");
                 table.AddRow({Table::Cell(name, Color::kBold), Text(At(address, "address")),
                               Text(At(address, "port_value")), absl::StrJoin(filters, ","),
                               absl::StrJoin(routes, ",")});
               });
  return table;
}

Table Routes(const Value& dump, const std::string& filter) {
  Table table({"CONFIGURATION", "VIRTUAL HOST", "DOMAINS", "MATCH", "TO"});
  EachResource(
      dump, ".RoutesConfigDump", "route_config", {"static_route_configs", "dynamic_route_configs"},
      [&](const Value& config, const Value&) {
        const std::string name = Text(At(config, "name"));
        Each(At(config, "virtual_hosts"), [&](const Value& host) {
          const std::string host_name = Text(At(host, "name"));
          if (name.find(filter) == std::string::npos && host_name.find(filter) == std::string::npos)
            return;
          std::vector<std::string> domains;
          Each(At(host, "domains"), [&](const Value& domain) { domains.push_back(Text(domain)); });
          std::string shown = domains.empty() ? "" : domains[0];
          if (domains.size() > 1) absl::StrAppend(&shown, " and ", domains.size() - 1, " more");
          Each(At(host, "routes"), [&](const Value& route) {
            table.AddRow({Table::Cell(name, Color::kBold), host_name, shown,
                          Shorten(DescribeMatch(At(route, "match")), 60), DescribeAction(route)});
          });
        });
      });
  return table;
}

Table Clusters(const Value& dump, const std::string& filter) {
  Table table({"SERVICE", "PORT", "SUBSET", "DIRECTION", "TYPE"});
  EachResource(
      dump, ".ClustersConfigDump", "cluster", {"static_clusters", "dynamic_active_clusters"},
      [&](const Value& cluster, const Value&) {
        const std::string name = Text(At(cluster, "name"));
        if (name.find(filter) == std::string::npos) return;
        std::string type = Text(At(cluster, "type"));
        if (type.empty()) type = "STATIC";  // The default, which a dump leaves out.
        if (const auto parsed = api::ParseClusterName(name)) {
          const bool inbound = parsed->direction == api::ClusterName::Direction::kInbound;
          table.AddRow({Table::Cell(parsed->host.empty() ? "-" : parsed->host, Color::kBold),
                        absl::StrCat(parsed->port), parsed->subset.empty() ? "-" : parsed->subset,
                        inbound ? "inbound" : "outbound", type});
        } else {
          table.AddRow({Table::Cell(name, Color::kBold), "-", "-", "-", type});
        }
      });
  return table;
}

// /clusters?format=json
Table Endpoints(const Value& clusters, const std::string& filter) {
  Table table({"ENDPOINT", "HEALTH", "WEIGHT", "REQUESTS", "CLUSTER"});
  Each(At(clusters, "cluster_statuses"), [&](const Value& cluster) {
    const std::string name = Text(At(cluster, "name"));
    if (name.find(filter) == std::string::npos) return;
    Each(At(cluster, "host_statuses"), [&](const Value& host) {
      const Value& address = At(host, "address", "socket_address");
      std::string health = Text(At(host, "health_status", "eds_health_status"));
      if (health.empty() || health == "UNKNOWN") health = "HEALTHY";
      if (At(host, "health_status", "failed_active_health_check").IsTrue()) health = "failed check";
      if (At(host, "health_status", "failed_outlier_check").IsTrue()) health = "ejected";
      std::string requests;
      Each(At(host, "stats"), [&](const Value& stat) {
        if (Text(At(stat, "name")) == "rq_total")
          requests = At(stat, "value").IsNull() ? "0" : Text(At(stat, "value"));
      });
      const std::string weight = Text(At(host, "weight"));
      table.AddRow({Table::Cell(absl::StrCat(Text(At(address, "address")), ":",
                                             Text(At(address, "port_value"))),
                                Color::kBold),
                    Table::Cell(health, health == "HEALTHY" ? Color::kGreen : Color::kRed),
                    weight.empty() ? "1" : weight, requests, name});
    });
  });
  return table;
}

// The sections of the dump that belong to `part`.
void PrintSections(const rapidjson::Document& dump, const char* section) {
  rapidjson::Document out(rapidjson::kArrayType);
  Each(At(dump, "configs"), [&](const Value& config) {
    if (absl::EndsWith(Text(At(config, "@type")), section))
      out.PushBack(Value(config, out.GetAllocator()), out.GetAllocator());
  });
  rapidjson::StringBuffer buffer;
  rapidjson::PrettyWriter<rapidjson::StringBuffer> writer(buffer);
  writer.SetIndent(' ', 2);
  out.Accept(writer);
  std::printf("%s\n", buffer.GetString());
}

// The admin address of a sidecar of the mesh that runs here; empty after an error message.
std::string AdminAddress(const ProxyConfigOptions& options) {
  if (!options.admin.empty()) return options.admin;
  const std::string directory = ChooseState({options.state, options.mesh});
  if (directory.empty()) return "";
  const StateView view = LookAtState(directory);
  std::vector<std::string> names, matching;
  std::string address;
  for (const auto& workload : view.state.workloads()) {
    names.push_back(workload.name());
    const bool exact = workload.name() == options.proxy || workload.node_id() == options.proxy ||
                       workload.name() + "." + workload.namespace_() == options.proxy;
    if (!exact && !absl::StartsWith(workload.name(), options.proxy + "-")) continue;
    matching.push_back(workload.name());
    address = workload.admin_address();
    if (exact) return address;
  }
  if (matching.size() == 1) return address;
  if (matching.size() > 1) {
    Fail("several proxies are called " + options.proxy + ": " + absl::StrJoin(matching, ", "),
         "Say which, with its whole name.");
    return "";
  }
  const std::string near = api::Nearest(options.proxy, names);
  Fail(absl::StrCat("there is no proxy \"", options.proxy, "\"",
                    near.empty() ? "" : absl::StrCat(" (did you mean ", near, "?)")),
       "These are: " + absl::StrJoin(names, ", ") + ". Any other: --admin HOST:PORT.");
  return "";
}

}  // namespace

absl::StatusOr<Table> ConfigTable(ConfigPart part, const std::string& json,
                                  const std::string& filter) {
  rapidjson::Document document;
  document.Parse(json.c_str(), json.size());
  const char* needed = part == ConfigPart::kEndpoint ? "cluster_statuses" : "configs";
  if (document.HasParseError() || !document.IsObject() ||
      !(document.HasMember(needed) || document.ObjectEmpty())) {
    return absl::InvalidArgumentError("the answer is not that of a proxy's admin port");
  }
  switch (part) {
    case ConfigPart::kListener:
      return Listeners(document, filter);
    case ConfigPart::kRoute:
      return Routes(document, filter);
    case ConfigPart::kCluster:
      return Clusters(document, filter);
    case ConfigPart::kEndpoint:
      return Endpoints(document, filter);
  }
  return absl::InternalError("no such part");
}

int ProxyConfig(ConfigPart part, const ProxyConfigOptions& options) {
  if (options.proxy.empty() && options.admin.empty()) {
    return Fail("say which proxy",
                "Its name, as in: weftctl proxy-config route productpage; or its admin port: "
                "--admin 127.0.2.1:15000");
  }
  const std::string address = AdminAddress(options);
  if (address.empty()) return 1;
  const bool endpoints = part == ConfigPart::kEndpoint;
  const auto reply = HttpGet(address, endpoints ? "/clusters?format=json" : "/config_dump",
                             std::chrono::seconds(5));
  if (!reply.ok()) return Fail(reply.status(), "Is the proxy running? weftctl dev status tells.");
  if (reply->status != 200)
    return Fail(absl::StrCat("http://", address, " answered ", reply->status, ": ",
                             Shorten(reply->body, 200)));
  if (options.format == Format::kTable) {
    const auto table = ConfigTable(part, reply->body, options.filter);
    if (!table.ok()) return Fail(table.status(), "Check the address: " + address);
    if (table->size() == 0)
      std::fprintf(stderr, "nothing%s\n",
                   options.filter.empty()
                       ? " yet"
                       : (" with \"" + options.filter + "\" in its name").c_str());
    else
      table->Print(stdout);
    return 0;
  }
  if (options.format == Format::kYaml) return Fail("a proxy's dump is JSON; use -o json");
  rapidjson::Document dump;
  dump.Parse(reply->body.c_str(), reply->body.size());
  if (dump.HasParseError()) return Fail("the answer of " + address + " is not JSON");
  if (endpoints)
    std::printf("%s\n", reply->body.c_str());
  else
    PrintSections(dump, part == ConfigPart::kListener ? ".ListenersConfigDump"
                        : part == ConfigPart::kRoute  ? ".RoutesConfigDump"
                                                      : ".ClustersConfigDump");
  return 0;
}

}  // namespace weft::cli
