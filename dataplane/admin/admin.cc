#include "dataplane/admin/admin.h"

#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

#include "dataplane/base/log.h"
#include "dataplane/base/strings.h"
#include "rapidjson/prettywriter.h"
#include "rapidjson/stringbuffer.h"

namespace weft::admin {
namespace {

using Writer = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

void Text(Writer& w, std::string_view s) {
  w.String(s.data(), static_cast<rapidjson::SizeType>(s.size()));
}
void Field(Writer& w, const char* key, std::string_view value) {
  w.Key(key);
  Text(w, value);
}
void Field(Writer& w, const char* key, uint64_t value) {
  w.Key(key);
  w.Uint64(value);
}

void AddressJson(Writer& w, const net::Address& a) {
  w.StartObject();
  if (a.is_unix()) {
    w.Key("pipe");
    w.StartObject();
    Field(w, "path", a.ToString());
    w.EndObject();
  } else {
    w.Key("socket_address");
    w.StartObject();
    Field(w, "address", a.Ip());
    Field(w, "port_value", a.port());
    w.EndObject();
  }
  w.EndObject();
}

http::SimpleResponse Json(const rapidjson::StringBuffer& out) {
  http::SimpleResponse r;
  r.content_type = "application/json";
  r.body.assign(out.GetString(), out.GetSize());
  r.body += '\n';
  return r;
}

http::SimpleResponse Error(int status, std::string text) {
  http::SimpleResponse r;
  r.status = status;
  r.body = std::move(text) + "\n";
  return r;
}

const char* HealthName(upstream::HealthStatus h) {
  switch (h) {
    case upstream::HealthStatus::kUnhealthy:
      return "UNHEALTHY";
    case upstream::HealthStatus::kDraining:
      return "DRAINING";
    case upstream::HealthStatus::kTimeout:
      return "TIMEOUT";
    case upstream::HealthStatus::kDegraded:
      return "DEGRADED";
    default:
      return "HEALTHY";
  }
}

std::string Escape(std::string_view s) {
  std::string out;
  for (char c : s) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

// Resident set of this process in bytes.
uint64_t ResidentBytes() {
  FILE* f = fopen("/proc/self/statm", "r");
  if (f == nullptr) return 0;
  unsigned long total = 0, resident = 0;
  if (fscanf(f, "%lu %lu", &total, &resident) != 2) resident = 0;
  fclose(f);
  return uint64_t{resident} * 4096;
}

}  // namespace

const char* ServerStateName(ServerState state) {
  switch (state) {
    case ServerState::kLive:
      return "LIVE";
    case ServerState::kDraining:
      return "DRAINING";
    case ServerState::kPreInitializing:
      return "PRE_INITIALIZING";
    case ServerState::kInitializing:
      return "INITIALIZING";
  }
  return "";
}

const Admin::Endpoint Admin::kEndpoints[] = {
    {"/", "this page", false, &Admin::Home},
    {"/clusters", "upstream clusters and their endpoints (?format=json)", false, &Admin::Clusters},
    {"/config_dump", "the configuration in effect (?resource=, ?name=, ?include_eds)", false,
     &Admin::ConfigDump},
    {"/drain_listeners", "stop accepting, finish what is under way", true, &Admin::Drain},
    {"/help", "this list as text", false, &Admin::Help},
    {"/listeners", "listeners and their addresses (?format=json)", false, &Admin::Listeners},
    {"/logging", "show (GET) or set (POST ?level=debug) the log level", false, &Admin::Logging},
    {"/memory", "memory of this process", false, &Admin::Memory},
    {"/quitquitquit", "end the process", true, &Admin::Quit},
    {"/ready", "200 LIVE when traffic may come, else 503 and the state", false, &Admin::Ready},
    {"/reopen_logs", "open the access logs again, after a rotation", true, &Admin::ReopenLogs},
    {"/server_info", "version, state, node, flags", false, &Admin::ServerInfo},
    {"/stats", "all statistics (?filter=REGEX, ?usedonly, ?format=json|prometheus)", false,
     &Admin::Stats},
    {"/stats/prometheus", "all statistics for Prometheus", false, &Admin::Prometheus},
};

Admin::Admin(event::Loop& loop, observe::Registry& registry, Hooks hooks)
    : loop_(loop), registry_(registry), hooks_(std::move(hooks)), start_(loop.Now()) {}

void Admin::Handle(const Request& request, Respond respond) {
  if (request.method != "GET" && request.method != "POST" && request.method != "HEAD") {
    respond(Error(405, "Method " + request.method + " not allowed."));
    return;
  }
  for (const Endpoint& e : kEndpoints) {
    if (request.path != e.path) continue;
    if (e.post && request.method != "POST") {
      respond(Error(405, "Method " + request.method + " not allowed, POST required."));
      return;
    }
    (this->*e.handle)(request, respond);
    return;
  }
  respond(Error(404, "invalid path. See /help for the list of admin endpoints."));
}

void Admin::Home(const Request&, const Respond& respond) {
  http::SimpleResponse r;
  r.content_type = "text/html; charset=utf-8";
  r.body =
      "<!doctype html><meta charset=utf-8><title>weft-proxy admin</title><style>body{font:15px/1.5 "
      "system-ui,sans-serif;"
      "margin:2rem "
      "auto;max-width:52rem;color:#1d2733}h1{font-size:1.3rem}table{border-collapse:collapse;width:"
      "100%}"
      "td{padding:.35rem .6rem;border-bottom:1px solid "
      "#e2e7ec}a{color:#0b5fa5;text-decoration:none}"
      "button{font:inherit;color:#8a1f11;background:none;border:0;padding:0;cursor:pointer}"
      ".s{color:#5b6875}</style><h1>weft-proxy <span class=s>";
  StrAppend(&r.body, Escape(hooks_.version), " &middot; ", ServerStateName(hooks_.state()),
            "</span></h1><table>");
  for (const Endpoint& e : kEndpoints) {
    if (e.post) {
      StrAppend(&r.body, "<tr><td><form method=post action='", e.path, "'><button>", e.path,
                "</button></form>");
    } else {
      StrAppend(&r.body, "<tr><td><a href='", e.path, "'>", e.path, "</a>");
    }
    StrAppend(&r.body, "<td>", Escape(e.help));
  }
  r.body += "</table>\n";
  respond(std::move(r));
}

void Admin::Help(const Request&, const Respond& respond) {
  http::SimpleResponse r;
  r.body = "admin endpoints:\n";
  for (const Endpoint& e : kEndpoints)
    StrAppend(&r.body, "  ", e.path, e.post ? " (POST)" : "", ": ", e.help, "\n");
  respond(std::move(r));
}

void Admin::Ready(const Request&, const Respond& respond) {
  ServerState s = hooks_.state();
  http::SimpleResponse r;
  r.status = s == ServerState::kLive ? 200 : 503;
  r.body = StrCat(ServerStateName(s), "\n");
  if (s != ServerState::kLive && hooks_.state_detail) r.body += hooks_.state_detail() + "\n";
  respond(std::move(r));
}

void Admin::Stats(const Request& request, const Respond& respond) {
  if (hooks_.refresh_stats) hooks_.refresh_stats();
  std::string format = http::QueryParameter(request.query, "format");
  observe::StatsQuery q;
  q.filter = http::QueryParameter(request.query, "filter");
  q.used_only = http::HasQueryParameter(request.query, "usedonly");
  absl::StatusOr<std::string> body;
  http::SimpleResponse r;
  if (format == "json") {
    body = registry_.Json(q);
    r.content_type = "application/json";
  } else if (format == "prometheus") {
    Prometheus(request, respond);
    return;
  } else if (format.empty() || format == "text") {
    body = registry_.Text(q);
  } else {
    respond(Error(400, "format is one of text, json, prometheus; not \"" + format + "\""));
    return;
  }
  if (!body.ok()) {
    respond(Error(400, std::string(body.status().message())));
    return;
  }
  r.body = *std::move(body);
  respond(std::move(r));
}

void Admin::Prometheus(const Request& request, const Respond& respond) {
  if (hooks_.refresh_stats) hooks_.refresh_stats();
  observe::StatsQuery q;
  q.filter = http::QueryParameter(request.query, "filter");
  q.used_only = http::HasQueryParameter(request.query, "usedonly");
  auto body = registry_.Prometheus(q);
  if (!body.ok()) {
    respond(Error(400, std::string(body.status().message())));
    return;
  }
  http::SimpleResponse r;
  r.content_type = "text/plain; version=0.0.4; charset=utf-8";
  r.body = *std::move(body);
  respond(std::move(r));
}

void Admin::ConfigDump(const Request& request, const Respond& respond) {
  http::SimpleResponse r;
  r.content_type = "application/json";
  r.body = hooks_.config_dump(http::QueryParameter(request.query, "resource"),
                              http::QueryParameter(request.query, "name"),
                              http::HasQueryParameter(request.query, "include_eds"));
  respond(std::move(r));
}

void Admin::Clusters(const Request& request, const Respond& respond) {
  bool json = http::QueryParameter(request.query, "format") == "json";
  hooks_.hosts([this, json, respond](std::vector<upstream::HostStatus> hosts) {
    std::map<std::pair<std::string, std::string>, upstream::HostStatus> used;
    for (auto& h : hosts) used[{h.cluster, h.address}] = h;
    std::vector<ClusterView> clusters = hooks_.clusters();
    std::sort(clusters.begin(), clusters.end(),
              [](auto& a, auto& b) { return a.spec->name < b.spec->name; });
    rapidjson::StringBuffer buffer;
    Writer w(buffer);
    w.SetIndent(' ', 1);
    std::string text;
    w.StartObject();
    w.Key("cluster_statuses");
    w.StartArray();
    for (const ClusterView& c : clusters) {
      const upstream::ClusterSpec& s = *c.spec;
      w.StartObject();
      Field(w, "name", s.name);
      w.Key("added_via_api");
      w.Bool(c.added_via_api);
      Field(w, "observability_name", s.stat_name());
      if (!s.eds_service_name.empty()) Field(w, "eds_service_name", s.eds_service_name);
      w.Key("host_statuses");
      w.StartArray();
      std::string p = s.name + "::";
      StrAppend(&text, p, "observability_name::", s.stat_name(), "\n", p,
                "default_priority::max_connections::", s.breakers.max_connections, "\n", p,
                "default_priority::max_pending_requests::", s.breakers.max_pending_requests, "\n",
                p, "default_priority::max_requests::", s.breakers.max_requests, "\n", p,
                "default_priority::max_retries::", s.breakers.max_retries, "\n", p,
                "added_via_api::", c.added_via_api ? "true" : "false", "\n");
      if (c.endpoints != nullptr) {
        for (const upstream::EndpointSpec& e : c.endpoints->endpoints) {
          std::string address = e.address.ToString();
          const upstream::Locality locality = e.locality != nullptr ? *e.locality : upstream::Locality();
          upstream::HostStatus h;
          if (auto it = used.find({s.name, address}); it != used.end()) h = it->second;
          const std::pair<const char*, uint64_t> counters[] = {
              {"cx_connect_fail", h.cx_connect_fail}, {"cx_total", h.cx_total},
              {"rq_error", h.requests.rq_error},      {"rq_success", h.requests.rq_success},
              {"rq_timeout", h.requests.rq_timeout},  {"rq_total", h.requests.rq_total}};
          const std::pair<const char*, uint64_t> gauges[] = {{"cx_active", h.cx_active},
                                                             {"rq_active", h.requests.rq_active}};
          w.StartObject();
          w.Key("address");
          AddressJson(w, e.address);
          w.Key("stats");
          w.StartArray();
          std::string hp = StrCat(p, address, "::");
          auto stat = [&](const char* name, uint64_t value, bool gauge) {
            StrAppend(&text, hp, name, "::", value, "\n");
            w.StartObject();
            if (value != 0) Field(w, "value", std::to_string(value));
            if (gauge) Field(w, "type", "GAUGE");
            Field(w, "name", name);
            w.EndObject();
          };
          for (auto& [name, value] : counters) stat(name, value, false);
          for (auto& [name, value] : gauges) stat(name, value, true);
          w.EndArray();
          w.Key("health_status");
          w.StartObject();
          Field(w, "eds_health_status", HealthName(e.health));
          w.EndObject();
          Field(w, "weight", e.weight);
          if (!e.hostname.empty()) Field(w, "hostname", e.hostname);
          if (e.priority != 0) Field(w, "priority", e.priority);
          w.Key("locality");
          w.StartObject();
          if (!locality.region.empty()) Field(w, "region", locality.region);
          if (!locality.zone.empty()) Field(w, "zone", locality.zone);
          if (!locality.sub_zone.empty()) Field(w, "sub_zone", locality.sub_zone);
          w.EndObject();
          w.EndObject();
          StrAppend(&text, hp, "hostname::", e.hostname, "\n", hp,
                    "health_flags::", e.usable() ? "healthy" : "/failed_eds_health", "\n", hp,
                    "weight::", e.weight, "\n", hp, "region::", locality.region, "\n", hp,
                    "zone::", locality.zone, "\n", hp, "sub_zone::", locality.sub_zone, "\n", hp,
                    "canary::false\n", hp, "priority::", e.priority, "\n");
        }
      }
      w.EndArray();
      w.EndObject();
    }
    w.EndArray();
    w.EndObject();
    if (json) {
      respond(Json(buffer));
      return;
    }
    http::SimpleResponse r;
    r.body = std::move(text);
    respond(std::move(r));
  });
}

void Admin::Listeners(const Request& request, const Respond& respond) {
  auto listeners = hooks_.listeners();
  std::sort(listeners.begin(), listeners.end(), [](auto& a, auto& b) { return a.first < b.first; });
  if (http::QueryParameter(request.query, "format") != "json") {
    http::SimpleResponse r;
    for (auto& [name, address] : listeners)
      StrAppend(&r.body, name, "::", address.ToString(), "\n");
    respond(std::move(r));
    return;
  }
  rapidjson::StringBuffer buffer;
  Writer w(buffer);
  w.SetIndent(' ', 1);
  w.StartObject();
  w.Key("listener_statuses");
  w.StartArray();
  for (auto& [name, address] : listeners) {
    w.StartObject();
    Field(w, "name", name);
    w.Key("local_address");
    AddressJson(w, address);
    w.EndObject();
  }
  w.EndArray();
  w.EndObject();
  respond(Json(buffer));
}

void Admin::ServerInfo(const Request&, const Respond& respond) {
  rapidjson::StringBuffer buffer;
  Writer w(buffer);
  w.SetIndent(' ', 1);
  std::string uptime = StrCat((loop_.Now() - start_) / kSecond, "s");
  w.StartObject();
  Field(w, "version", hooks_.version);
  Field(w, "state", ServerStateName(hooks_.state()));
  Field(w, "uptime_current_epoch", uptime);
  Field(w, "uptime_all_epochs", uptime);
  w.Key("command_line_options");
  w.StartObject();
  for (auto& [flag, value] : hooks_.command_line()) Field(w, flag.c_str(), value);
  w.EndObject();
  if (std::string node = hooks_.node_json(); !node.empty()) {
    w.Key("node");
    w.RawValue(node.data(), node.size(), rapidjson::kObjectType);
  }
  w.EndObject();
  respond(Json(buffer));
}

void Admin::Logging(const Request& request, const Respond& respond) {
  std::string level = http::QueryParameter(request.query, "level");
  if (level.empty()) level = http::QueryParameter(request.query, "weft");
  if (!level.empty()) {
    if (request.method != "POST") {
      respond(Error(405, "Method GET not allowed, POST required."));
      return;
    }
    LogLevel parsed;
    if (!ParseLogLevel(level, &parsed)) {
      respond(
          Error(400, "level is one of trace, debug, info, warning, error, critical, off; not \"" +
                         level + "\""));
      return;
    }
    SetLogLevel(parsed);
  }
  http::SimpleResponse r;
  r.body = StrCat("active loggers:\n  weft: ", LogLevelName(GetLogLevel()), "\n");
  respond(std::move(r));
}

void Admin::Memory(const Request&, const Respond& respond) {
  struct mallinfo2 m = mallinfo2();
  rapidjson::StringBuffer buffer;
  Writer w(buffer);
  w.SetIndent(' ', 1);
  w.StartObject();
  Field(w, "allocated", std::to_string(m.uordblks + m.hblkhd));
  Field(w, "heap_size", std::to_string(m.arena + m.hblkhd));
  Field(w, "total_physical_bytes", std::to_string(ResidentBytes()));
  w.EndObject();
  respond(Json(buffer));
}

void Admin::Drain(const Request&, const Respond& respond) {
  hooks_.drain_listeners();
  respond({200, "OK\n"});
}

void Admin::ReopenLogs(const Request&, const Respond& respond) {
  hooks_.reopen_logs();
  respond({200, "OK\n"});
}

void Admin::Quit(const Request&, const Respond& respond) {
  respond({200, "OK\n"});
  hooks_.quit();
}

}  // namespace weft::admin
