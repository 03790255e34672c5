#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "controlplane/xds/stats.h"

namespace weft::ctl::admin {

// Writes Prometheus' text format 0.0.4.
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
class MetricsText {
 public:
  void Gauge(std::string_view name, std::string_view help, double value,
             std::string_view labels = "");
  void Counter(std::string_view name, std::string_view help, uint64_t value,
               std::string_view labels = "");
  // One more sample of the metric that was added last.
  void More(std::string_view name, uint64_t value, std::string_view labels);
  void Convergence(std::string_view name, std::string_view help, const xds::Counters& counters);

  std::string Take() { return std::move(text_); }

 private:
  void Head(std::string_view name, std::string_view help, std::string_view type);
  std::string text_;
};

}  // namespace weft::ctl::admin
