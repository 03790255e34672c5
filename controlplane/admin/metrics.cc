#include "controlplane/admin/metrics.h"

#include <charconv>

#include "dataplane/base/strings.h"

namespace weft::ctl::admin {

void MetricsText::Head(std::string_view name, std::string_view help, std::string_view type) {
  StrAppend(&text_, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

void MetricsText::Gauge(std::string_view name, std::string_view help, double value,
                        std::string_view labels) {
  Head(name, help, "gauge");
  StrAppend(&text_, name, labels, " ", value, "\n");
}

void MetricsText::Counter(std::string_view name, std::string_view help, uint64_t value,
                          std::string_view labels) {
  Head(name, help, "counter");
  More(name, value, labels);
}

void MetricsText::More(std::string_view name, uint64_t value, std::string_view labels) {
  StrAppend(&text_, name, labels, " ", value, "\n");
}

void MetricsText::Convergence(std::string_view name, std::string_view help,
                              const xds::Counters& counters) {
  Head(name, help, "histogram");
  uint64_t total = 0;
  for (size_t i = 0; i < counters.convergence.size(); ++i) {
    total += counters.convergence[i].load(std::memory_order_relaxed);
    std::string bound = "+Inf";
    if (i < xds::Counters::kBucketsMs.size()) bound = StrCat(xds::Counters::kBucketsMs[i] / 1000.0);
    StrAppend(&text_, name, "_bucket{le=\"", bound, "\"} ", total, "\n");
  }
  StrAppend(&text_, name, "_sum ", static_cast<double>(counters.convergence_sum_us.load()) / 1e6,
            "\n", name, "_count ", total, "\n");
}

}  // namespace weft::ctl::admin
