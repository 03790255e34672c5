// Formats with %COMMAND%s. Nothing may crash; what compiles must format; a log line holds no control characters but
// those of the format itself.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "dataplane/base/substitution/format.h"

namespace {

// Answers every name with the same nasty value.
class NastyHeaders : public weft::HeaderSource {
 public:
  std::optional<std::string_view> Get(std::string_view name) const override {
    if (name.size() % 3 == 0) return std::nullopt;
    return std::string_view("a\r\nb\x01\"\\\xff", 8);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  absl::StatusOr<weft::Format> format = weft::Format::Compile(text);
  if (!format.ok()) {
    if (format.status().message().empty()) abort();
    return 0;
  }
  NastyHeaders headers;
  weft::StreamFields fields;
  fields.start_wall_micros = static_cast<int64_t>(size) * 1'234'567'891;
  fields.request_headers = fields.response_headers = fields.response_trailers = &headers;
  fields.response_flags = ~uint64_t{0};
  fields.upstream_host = "[::1]:80";
  fields.downstream_remote_address = "1.2.3.4:5";
  std::string log, value;
  format->Append(fields, weft::FormatStyle::kLog, &log);
  format->Append(fields, weft::FormatStyle::kHeader, &value);
  if (!format->has_line_break() && value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) abort();
  bool fixed_text_is_clean = true;
  for (unsigned char c : text) fixed_text_is_clean &= c >= 0x20;
  for (unsigned char c : log) {
    if (fixed_text_is_clean && c < 0x20) {
      fprintf(stderr, "control character in: %s\n", log.c_str());
      abort();
    }
  }
  return 0;
}
