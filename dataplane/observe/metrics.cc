#include "dataplane/observe/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "dataplane/base/strings.h"
#include "rapidjson/stringbuffer.h"
#include "rapidjson/writer.h"
#include "re2/re2.h"

namespace weft::observe {
namespace {

using Kind = ScopeId::Kind;

// Colons would end a name in the text format.
void AppendName(std::string_view name, std::string* out) {
  for (char c : name) out->push_back(c == ':' ? '_' : c);
}

constexpr double kQuantiles[] = {0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1};

std::string FormatDouble(double v) {
  char buf[32];
  snprintf(buf, sizeof(buf), "%.6g", v);
  return buf;
}

// Prometheus names: [a-zA-Z0-9_], with our prefix in front.
std::string PrometheusName(std::string_view extracted) {
  std::string out = "envoy_";
  for (char c : extracted) {
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    out.push_back(ok ? c : '_');
  }
  return out;
}

std::string PrometheusLabels(const std::vector<Tag>& tags) {
  std::string out;
  for (const Tag& tag : tags) {
    if (!out.empty()) out.push_back(',');
    StrAppend(&out, tag.name, "=\"");
    for (char c : tag.value) {
      if (c == '\\' || c == '"') out.push_back('\\');
      if (c == '\n') {
        out.append("\\n");
      } else {
        out.push_back(c);
      }
    }
    out.push_back('"');
  }
  return out;
}

// "upstream_rq_2xx" -> 2: a field of a group, so the text is ours.
int ResponseClass(std::string_view field) {
  if (field.size() < 7 || !field.ends_with("xx") || !field.substr(0, field.size() - 3).ends_with("_rq_")) return 0;
  return field[field.size() - 3] - '0';
}

}  // namespace

std::string ScopeId::Prefix() const {
  std::string out(ExtractedPrefix());
  if (kind == Kind::kListenerHttp) {
    out = "listener.";
    AppendName(name, &out);
    out.append(".http.");
    AppendName(sub_name, &out);
  } else if (kind == Kind::kClusterHttp2) {
    out = "cluster.";
    AppendName(name, &out);
    out.append(".http2");
  } else {
    if (kind == Kind::kProcess) out.clear();
    AppendName(name, &out);
  }
  out.push_back('.');
  return out;
}

std::string_view ScopeId::ExtractedPrefix() const {
  switch (kind) {
    case Kind::kProcess:
      return {};  // the whole name stays: see FullExtracted
    case Kind::kCluster:
      return "cluster.";
    case Kind::kHttp:
      return "http.";
    case Kind::kListener:
      return "listener.";
    case Kind::kListenerHttp:
      return "listener.http.";
    case Kind::kClusterHttp2:
      return "cluster.http2.";
  }
  return {};
}

void ScopeId::AppendTags(std::vector<Tag>* out) const {
  auto add = [out](const char* tag, std::string_view value) {
    std::string clean;
    AppendName(value, &clean);
    out->push_back({tag, std::move(clean)});
  };
  switch (kind) {
    case Kind::kProcess:
      return;
    case Kind::kCluster:
    case Kind::kClusterHttp2:
      return add("envoy_cluster_name", name);
    case Kind::kHttp:
      return add("envoy_http_conn_manager_prefix", name);
    case Kind::kListener:
      return add("envoy_listener_address", name);
    case Kind::kListenerHttp:
      add("envoy_http_conn_manager_prefix", sub_name);
      return add("envoy_listener_address", name);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Sums over shards.

struct Registry::Totals {
  enum class Type : uint8_t { kCounter, kGauge, kHistogram };
  struct Item {
    Type type = Type::kCounter;
    bool used = false;
    int64_t number = 0;
    std::unique_ptr<HistogramSnapshot> histogram;

    void Add(const Counter& c) {
      type = Type::kCounter;
      number += static_cast<int64_t>(c.value());
      used |= c.value() != 0;
    }
    void Add(const Gauge& g) {
      type = Type::kGauge;
      number += g.value();
      used |= g.used();
    }
    void Add(const Histogram& h) {
      type = Type::kHistogram;
      if (h.data() == nullptr) return;
      if (histogram == nullptr) histogram = std::make_unique<HistogramSnapshot>();
      histogram->Add(h);
      used |= histogram->count() != 0;
    }
    void Add(const Item& other) {
      type = other.type;
      number += other.number;
      used |= other.used;
      if (other.histogram == nullptr) return;
      if (histogram == nullptr) histogram = std::make_unique<HistogramSnapshot>();
      histogram->Add(*other.histogram);
    }
  };
  struct DynamicItem : Item {
    MetricName name;
  };

  // A scope has one kind, hence one kind of group.
  std::vector<const char*> field_names;
  std::vector<Item> fields;
  std::map<int, Item> codes, grpc_codes;
  std::map<std::string, DynamicItem> dynamic;

  template <typename Group>
  void AddGroup(const Group* group) {
    if (group == nullptr) return;
    size_t i = 0;
    group->ForEach([&](const char* name, const auto& metric) {
      if (i == fields.size()) {
        fields.emplace_back();
        field_names.push_back(name);
      }
      fields[i++].Add(metric);
    });
  }

  void Add(const Totals& other) {
    if (fields.size() < other.fields.size()) fields.resize(other.fields.size());
    if (field_names.size() < other.field_names.size()) field_names = other.field_names;
    for (size_t i = 0; i < other.fields.size(); ++i) fields[i].Add(other.fields[i]);
    for (const auto& [code, item] : other.codes) codes[code].Add(item);
    for (const auto& [code, item] : other.grpc_codes) grpc_codes[code].Add(item);
    for (const auto& [name, item] : other.dynamic) {
      DynamicItem& mine = dynamic[name];
      mine.name = item.name;
      mine.Add(item);
    }
  }

  // A level that belonged to a shard that gave up its scope is no level any more.
  void ForgetGauges() {
    for (Item& item : fields) {
      if (item.type == Type::kGauge) item.number = 0;
    }
    for (auto& [name, item] : dynamic) {
      if (item.type == Type::kGauge) item.number = 0;
    }
  }
};

struct Registry::ScopeRecord {
  int holders = 0;
  std::unique_ptr<Totals> retired;  // counts of shards that dropped the scope while others kept it
};

struct Registry::Sample {
  std::string name;
  std::string extracted;
  std::vector<Tag> tags;
  Totals::Item item;
};

Registry::Registry() = default;
Registry::~Registry() = default;

Shard* Registry::NewShard() {
  std::lock_guard<std::mutex> lock(mu_);
  shards_.push_back(std::unique_ptr<Shard>(new Shard(this)));
  return shards_.back().get();
}

void Registry::Hold(const ScopeId& scope) {
  std::lock_guard<std::mutex> lock(mu_);
  ++scopes_[scope].holders;
}

void Registry::AddBlock(const Shard::Block& block, Totals* totals) {
  totals->AddGroup(block.cluster.get());
  totals->AddGroup(block.http.get());
  totals->AddGroup(block.listener.get());
  totals->AddGroup(block.listener_http.get());
  totals->AddGroup(block.http2.get());
  if (block.cluster != nullptr) {
    block.cluster->codes.ForEach([&](int code, const Counter& counter) { totals->codes[code].Add(counter); });
    block.cluster->grpc_codes.ForEach([&](int code, const Counter& counter) {
      totals->grpc_codes[code - ClusterCounters::kGrpcBase].Add(counter);
    });
  }
  for (const std::unique_ptr<Shard::Dynamic>& d : block.dynamic) {
    Totals::DynamicItem& item = totals->dynamic[d->name.name];
    item.name = d->name;
    switch (d->kind) {
      case Shard::Dynamic::Kind::kCounter:
        item.Add(d->counter);
        break;
      case Shard::Dynamic::Kind::kGauge:
        item.Add(d->gauge);
        break;
      case Shard::Dynamic::Kind::kHistogram:
        item.Add(d->histogram);
        break;
    }
  }
}

std::vector<Registry::Sample> Registry::Collect() const {
  std::map<ScopeId, Totals> all;
  {
    // Held throughout, so that a scope dropped meanwhile is not missed in its shard and in the retired counts.
    std::lock_guard<std::mutex> lock(mu_);
    for (const auto& [scope, record] : scopes_) {
      if (record.retired != nullptr) all[scope].Add(*record.retired);
    }
    for (const std::unique_ptr<Shard>& shard : shards_) {
      std::lock_guard<std::mutex> shard_lock(shard->mu_);
      for (const auto& [scope, block] : shard->blocks_) AddBlock(*block, &all[scope]);
    }
  }
  std::vector<Sample> samples;
  for (auto& [scope, totals] : all) {
    const std::string prefix = scope.Prefix();
    const std::string extracted_prefix =
        scope.kind == Kind::kProcess ? prefix : std::string(scope.ExtractedPrefix());
    std::vector<Tag> scope_tags;
    scope.AppendTags(&scope_tags);
    for (size_t i = 0; i < totals.fields.size(); ++i) {
      std::string_view field = totals.field_names[i];
      Sample sample{StrCat(prefix, field), StrCat(extracted_prefix, field), {}, std::move(totals.fields[i])};
      if (int klass = ResponseClass(field); klass != 0) {
        sample.extracted.erase(sample.extracted.size() - 3, 1);
        sample.tags.push_back({"envoy_response_code_class", std::to_string(klass)});
      }
      sample.tags.insert(sample.tags.end(), scope_tags.begin(), scope_tags.end());
      samples.push_back(std::move(sample));
    }
    for (auto& [code, item] : totals.codes) {
      Sample sample{StrCat(prefix, "upstream_rq_", code), StrCat(extracted_prefix, "upstream_rq"), {}, std::move(item)};
      sample.tags.push_back({"envoy_response_code", std::to_string(code)});
      sample.tags.insert(sample.tags.end(), scope_tags.begin(), scope_tags.end());
      samples.push_back(std::move(sample));
    }
    for (auto& [code, item] : totals.grpc_codes) {
      Sample sample{StrCat(prefix, "grpc_", code), StrCat(extracted_prefix, "grpc"), {}, std::move(item)};
      sample.tags.push_back({"envoy_grpc_status", std::to_string(code)});
      sample.tags.insert(sample.tags.end(), scope_tags.begin(), scope_tags.end());
      samples.push_back(std::move(sample));
    }
    for (auto& [name, item] : totals.dynamic) {
      const std::string& extracted = item.name.extracted.empty() ? item.name.name : item.name.extracted;
      Sample sample{StrCat(prefix, name), StrCat(extracted_prefix, extracted), item.name.tags,
                    std::move(static_cast<Totals::Item&>(item))};
      sample.tags.insert(sample.tags.end(), scope_tags.begin(), scope_tags.end());
      samples.push_back(std::move(sample));
    }
  }
  return samples;
}

absl::StatusOr<std::vector<Registry::Sample>> Registry::Select(const StatsQuery& query) const {
  std::unique_ptr<RE2> filter;
  if (!query.filter.empty()) {
    RE2::Options options;
    options.set_log_errors(false);
    filter = std::make_unique<RE2>(query.filter, options);
    if (!filter->ok()) {
      return absl::InvalidArgumentError(
          StrCat("filter \"", query.filter, "\" is not a regular expression: ", filter->error()));
    }
  }
  std::vector<Sample> samples = Collect();
  std::erase_if(samples, [&](const Sample& s) {
    return (query.used_only && !s.item.used) || (filter != nullptr && !RE2::PartialMatch(s.name, *filter));
  });
  std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
    bool a_last = a.item.type == Totals::Type::kHistogram, b_last = b.item.type == Totals::Type::kHistogram;
    return a_last != b_last ? b_last : a.name < b.name;
  });
  return samples;
}

absl::StatusOr<std::string> Registry::Text(const StatsQuery& query) const {
  absl::StatusOr<std::vector<Sample>> samples = Select(query);
  if (!samples.ok()) return samples.status();
  std::string out;
  for (const Sample& s : *samples) {
    StrAppend(&out, s.name, ": ");
    if (s.item.type != Totals::Type::kHistogram) {
      StrAppend(&out, s.item.number, "\n");
    } else if (!s.item.used) {
      out.append("No recorded values\n");
    } else {
      bool first = true;
      for (double q : kQuantiles) {
        StrAppend(&out, first ? "" : " ", "P", FormatDouble(q * 100), "(nan,",
                  FormatDouble(s.item.histogram->Quantile(q)), ")");
        first = false;
      }
      out.push_back('\n');
    }
  }
  return out;
}

absl::StatusOr<std::string> Registry::Json(const StatsQuery& query) const {
  absl::StatusOr<std::vector<Sample>> samples = Select(query);
  if (!samples.ok()) return samples.status();
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  auto text = [&json](std::string_view s) { json.String(s.data(), static_cast<rapidjson::SizeType>(s.size())); };
  json.StartObject();
  json.Key("stats");
  json.StartArray();
  auto it = samples->begin();
  for (; it != samples->end() && it->item.type != Totals::Type::kHistogram; ++it) {
    json.StartObject();
    json.Key("name");
    text(it->name);
    json.Key("value");
    json.Int64(it->item.number);
    json.EndObject();
  }
  if (it != samples->end()) {
    json.StartObject();
    json.Key("histograms");
    json.StartObject();
    json.Key("supported_quantiles");
    json.StartArray();
    for (double q : kQuantiles) json.Double(q * 100);
    json.EndArray();
    json.Key("computed_quantiles");
    json.StartArray();
    for (; it != samples->end(); ++it) {
      json.StartObject();
      json.Key("name");
      text(it->name);
      json.Key("values");
      json.StartArray();
      for (double q : kQuantiles) {
        json.StartObject();
        json.Key("interval");
        json.Null();
        json.Key("cumulative");
        if (it->item.used) {
          json.Double(it->item.histogram->Quantile(q));
        } else {
          json.Null();
        }
        json.EndObject();
      }
      json.EndArray();
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize());
}

absl::StatusOr<std::string> Registry::Prometheus(const StatsQuery& query) const {
  absl::StatusOr<std::vector<Sample>> samples = Select(query);
  if (!samples.ok()) return samples.status();
  // All lines of one metric have to be one group behind its TYPE line.
  std::stable_sort(samples->begin(), samples->end(),
                   [](const Sample& a, const Sample& b) { return a.extracted < b.extracted; });
  static constexpr const char* kTypes[] = {"counter", "gauge", "histogram"};
  std::string out;
  const Sample* previous = nullptr;
  for (const Sample& s : *samples) {
    const std::string name = PrometheusName(s.extracted);
    if (previous == nullptr || previous->extracted != s.extracted) {
      StrAppend(&out, "# TYPE ", name, " ", kTypes[static_cast<int>(s.item.type)], "\n");
    }
    previous = &s;
    const std::string labels = PrometheusLabels(s.tags);
    if (s.item.type != Totals::Type::kHistogram) {
      StrAppend(&out, name, "{", labels, "} ", s.item.number, "\n");
      continue;
    }
    const HistogramSnapshot empty;
    const HistogramSnapshot& h = s.item.histogram == nullptr ? empty : *s.item.histogram;
    const char* comma = labels.empty() ? "" : ",";
    for (size_t i = 0; i < kTwiceBucketBounds.size(); ++i) {
      StrAppend(&out, name, "_bucket{", labels, comma, "le=\"", kTwiceBucketBounds[i] / 2,
                kTwiceBucketBounds[i] % 2 == 0 ? "" : ".5", "\"} ", h.CumulativeCount(i), "\n");
    }
    StrAppend(&out, name, "_bucket{", labels, comma, "le=\"+Inf\"} ", h.count(), "\n");
    StrAppend(&out, name, "_sum{", labels, "} ", h.sum(), "\n");
    StrAppend(&out, name, "_count{", labels, "} ", h.count(), "\n");
  }
  return out;
}

std::unique_ptr<int64_t> Registry::Value(std::string_view full_name) const {
  for (const Sample& s : Collect()) {
    if (s.name == full_name && s.item.type != Totals::Type::kHistogram) return std::make_unique<int64_t>(s.item.number);
  }
  return nullptr;
}

// ---------------------------------------------------------------------------------------------------------------------
// One shard.

Shard::~Shard() = default;

Shard::Block* Shard::GetBlock(const ScopeId& scope) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto it = blocks_.find(scope);
    if (it != blocks_.end()) return it->second.get();
  }
  // Only this thread inserts, so nothing can come in between; the order of the locks is registry, then shard.
  registry_->Hold(scope);
  std::lock_guard<std::mutex> lock(mu_);
  return (blocks_[scope] = std::make_unique<Block>()).get();
}

template <typename Group>
Group* Shard::GetGroup(const ScopeId& scope, std::unique_ptr<Group> Block::*member) {
  Block* block = GetBlock(scope);
  std::lock_guard<std::mutex> lock(mu_);
  std::unique_ptr<Group>& group = block->*member;
  if (group == nullptr) group = std::make_unique<Group>();
  return group.get();
}

ClusterCounters* Shard::Cluster(std::string_view name) { return GetGroup(ScopeId::Cluster(name), &Block::cluster); }

HttpCounters* Shard::Http(std::string_view stat_prefix) { return GetGroup(ScopeId::Http(stat_prefix), &Block::http); }

ListenerCounters* Shard::Listener(std::string_view address) {
  return GetGroup(ScopeId::Listener(address), &Block::listener);
}

ListenerHttpCounters* Shard::ListenerHttp(std::string_view address, std::string_view stat_prefix) {
  return GetGroup(ScopeId::ListenerHttp(address, stat_prefix), &Block::listener_http);
}

Http2Counters* Shard::DownstreamHttp2() { return GetGroup(ScopeId::Process("http2"), &Block::http2); }

Http2Counters* Shard::ClusterHttp2(std::string_view cluster) {
  return GetGroup(ScopeId::ClusterHttp2(cluster), &Block::http2);
}

Shard::Dynamic* Shard::GetDynamic(const MetricName& name, Dynamic::Kind kind) {
  Block* block = GetBlock(name.scope);
  std::lock_guard<std::mutex> lock(mu_);
  for (std::unique_ptr<Dynamic>& d : block->dynamic) {
    if (d->name.name == name.name && d->kind == kind) return d.get();
  }
  auto made = std::make_unique<Dynamic>();
  made->name = name;
  made->kind = kind;
  block->dynamic.push_back(std::move(made));
  return block->dynamic.back().get();
}

Counter* Shard::GetCounter(const MetricName& name) { return &GetDynamic(name, Dynamic::Kind::kCounter)->counter; }

Gauge* Shard::GetGauge(const MetricName& name) { return &GetDynamic(name, Dynamic::Kind::kGauge)->gauge; }

Histogram* Shard::GetHistogram(const MetricName& name) {
  return &GetDynamic(name, Dynamic::Kind::kHistogram)->histogram;
}

void Shard::Drop(const ScopeId& scope) {
  std::lock_guard<std::mutex> registry_lock(registry_->mu_);
  std::unique_ptr<Block> block;
  {
    std::lock_guard<std::mutex> lock(mu_);
    auto it = blocks_.find(scope);
    if (it == blocks_.end()) return;
    block = std::move(it->second);
    blocks_.erase(it);
  }
  auto record = registry_->scopes_.find(scope);
  if (--record->second.holders == 0) {
    registry_->scopes_.erase(record);
    return;
  }
  // A counter whose sum fell would look like a restart to Prometheus.
  if (record->second.retired == nullptr) record->second.retired = std::make_unique<Registry::Totals>();
  Registry::AddBlock(*block, record->second.retired.get());
  record->second.retired->ForgetGauges();
}

size_t Shard::scope_count() const {
  std::lock_guard<std::mutex> lock(mu_);
  return blocks_.size();
}

}  // namespace weft::observe
