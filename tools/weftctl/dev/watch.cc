// weftctl dev watch: requests a second and success rate of each service, one line that renews
// itself; optionally with a little traffic of its own to look at.

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <map>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tools/weftctl/dev/commands.h"
#include "tools/weftctl/dev/state.h"
#include "tools/weftctl/http_get.h"

namespace weft::cli {
namespace {

using std::chrono::milliseconds;
using weft::dev::v1::MeshState;
using Clock = std::chrono::steady_clock;

std::atomic<bool> ended{false};

struct Counts {
  uint64_t completed = 0, failed = 0;
};

// What a sidecar's inbound side has served: the counters of its clusters inbound|PORT||.
Counts CountsOf(const std::string& admin_address) {
  Counts out;
  const auto reply = HttpGet(admin_address, "/stats", milliseconds(800));
  if (!reply.ok() || reply->status != 200) return out;
  for (absl::string_view line : absl::StrSplit(reply->body, '\n')) {
    if (!absl::StartsWith(line, "cluster.inbound|")) continue;
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(": ", 1));
    uint64_t value = 0;
    if (!absl::SimpleAtoi(parts.second, &value)) continue;
    // Envoy has the same ending under ".internal" and ".external" too, which are parts of the
    // whole.
    if (absl::EndsWith(parts.first, "||.upstream_rq_completed")) out.completed += value;
    if (absl::EndsWith(parts.first, "||.upstream_rq_5xx")) out.failed += value;
  }
  return out;
}

// Sends `rate` requests a second, evenly, until `ended`.
void SendTraffic(const std::string& address, const std::string& path, double rate) {
  const auto step =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1.0 / rate));
  for (auto next = Clock::now(); !ended; next += step) {
    std::this_thread::sleep_until(next);
    // The answers are counted by the sidecar.
    HttpGet(address, path, milliseconds(3000)).IgnoreError();
    if (Clock::now() > next + std::chrono::seconds(1))
      next = Clock::now();  // Don't catch up after a stall.
  }
}

}  // namespace

int DevWatch(const WatchOptions& options) {
  const std::string directory = ChooseState(options.mesh);
  if (directory.empty()) return 1;
  const StateView view = LookAtState(directory);
  if (view.kind != StateKind::kRunning)
    return Fail("the mesh is not running", "weftctl dev status tells more.");
  std::signal(SIGINT, [](int) { ended = true; });
  std::signal(SIGTERM, [](int) { ended = true; });

  std::string entry;
  for (const auto& workload : view.state.workloads()) {
    if (entry.empty() && !workload.ports().empty() &&
        (options.entry.empty() || options.entry == workload.workload() ||
         options.entry == workload.name())) {
      entry = absl::StrCat(workload.sidecar_address(), ":", workload.ports(0));
    }
  }
  if (entry.empty()) return Fail("there is no workload \"" + options.entry + "\" in this mesh");
  std::vector<std::jthread> senders;
  if (options.traffic > 0) {
    const int threads = options.traffic > 50 ? 4 : 1;
    for (int i = 0; i < threads; ++i)
      senders.emplace_back(SendTraffic, entry, options.path, options.traffic / threads);
  }

  const bool live = isatty(STDOUT_FILENO) == 1;
  const bool colors = ColorsOn(stdout);
  std::map<std::string, Counts> before;
  auto last = Clock::now();
  bool first = true;
  for (int round = 0; !ended && (options.seconds == 0 || round <= options.seconds); ++round) {
    const auto now = Clock::now();
    const double elapsed = std::chrono::duration<double>(now - last).count();
    last = now;
    std::vector<std::string> services;
    std::map<std::string, Counts> change;
    for (const auto& workload : view.state.workloads()) {
      if (!change.contains(workload.service())) services.push_back(workload.service());
      const Counts counts = CountsOf(workload.admin_address());
      Counts& known = before[workload.name()];
      Counts& sum = change[workload.service()];
      // A sidecar that was started again counts from zero.
      if (counts.completed >= known.completed && counts.failed >= known.failed) {
        sum.completed += counts.completed - known.completed;
        sum.failed += counts.failed - known.failed;
      }
      known = counts;
    }
    if (!first) {
      std::string line;
      for (const auto& service : services) {
        const Counts& sum = change[service];
        const double success =
            sum.completed == 0
                ? 100
                : 100.0 * (sum.completed - std::min(sum.failed, sum.completed)) / sum.completed;
        absl::StrAppend(
            &line, line.empty() ? "" : "   ", service, " ",
            Paint(Color::kBold, absl::StrFormat("%.0f/s", sum.completed / elapsed), colors), " ",
            sum.completed == 0 ? Paint(Color::kDim, "-", colors)
                               : Paint(success < 99.95 ? Color::kRed : Color::kGreen,
                                       absl::StrFormat("%.1f%%", success), colors));
      }
      std::printf(live ? "\r\x1b[K%s" : "%s\n", line.c_str());
      std::fflush(stdout);
    }
    first = false;
    for (int i = 0; i < 20 && !ended; ++i) std::this_thread::sleep_for(milliseconds(50));
  }
  ended = true;
  if (live) std::printf("\n");
  return 0;
}

}  // namespace weft::cli
