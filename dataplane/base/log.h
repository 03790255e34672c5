#pragma once

#include <string>
#include <string_view>

namespace weft {

// Application log: what an operator reads, never one line a request. Thread: any. The sink is stderr by default.
enum class LogLevel { kTrace, kDebug, kInfo, kWarning, kError, kCritical, kOff };

bool LogEnabled(LogLevel level);
void Log(LogLevel level, std::string_view message);

inline void LogDebug(std::string_view m) {
  if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, m);
}
inline void LogInfo(std::string_view m) { Log(LogLevel::kInfo, m); }
inline void LogWarning(std::string_view m) { Log(LogLevel::kWarning, m); }
inline void LogError(std::string_view m) { Log(LogLevel::kError, m); }

// "trace", "debug", "info", "warning" ("warn"), "error" ("err"), "critical", "off". False when unknown.
bool ParseLogLevel(std::string_view name, LogLevel* out);
std::string_view LogLevelName(LogLevel level);
LogLevel GetLogLevel();
void SetLogLevel(LogLevel level);
// Appends to a file instead of stderr. False (and the old sink stays) when the file can't be opened.
bool SetLogFile(const std::string& path);

}  // namespace weft
