#include "dataplane/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace weft {
namespace {

constexpr std::string_view kNames[] = {"trace", "debug", "info", "warning", "error", "critical", "off"};
constexpr char kPattern[] = "%Y-%m-%dT%H:%M:%S.%e %L %v";

// spdlog's default logger writes to stdout, which belongs to the program's own output.
spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto l = std::make_shared<spdlog::logger>("weft", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    l->set_pattern(kPattern);
    l->flush_on(spdlog::level::warn);
    return l;
  }();
  return *logger;
}

spdlog::level::level_enum ToSpd(LogLevel level) { return static_cast<spdlog::level::level_enum>(level); }

}  // namespace

bool LogEnabled(LogLevel level) { return Logger().should_log(ToSpd(level)); }

void Log(LogLevel level, std::string_view message) {
  Logger().log(ToSpd(level), spdlog::string_view_t(message.data(), message.size()));
}

bool ParseLogLevel(std::string_view name, LogLevel* out) {
  if (name == "warn") name = "warning";
  if (name == "err") name = "error";
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == name) {
      *out = static_cast<LogLevel>(i);
      return true;
    }
  }
  return false;
}

std::string_view LogLevelName(LogLevel level) { return kNames[static_cast<size_t>(level)]; }
LogLevel GetLogLevel() { return static_cast<LogLevel>(Logger().level()); }
void SetLogLevel(LogLevel level) { Logger().set_level(ToSpd(level)); }

bool SetLogFile(const std::string& path) {
  std::shared_ptr<spdlog::sinks::sink> sink;
  try {  // spdlog reports a file that can't be opened only by an exception
    sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
  } catch (const spdlog::spdlog_ex&) {
    return false;
  }
  sink->set_pattern(kPattern);
  Logger().sinks().assign(1, std::move(sink));
  Logger().flush_on(spdlog::level::trace);
  return true;
}

}  // namespace weft
