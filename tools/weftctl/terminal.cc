#include "tools/weftctl/terminal.h"

#include <unistd.h>
#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace weft::cli {
namespace {

// Characters that a terminal shows for UTF-8 text, which is near enough to its width for names and
// addresses.
size_t Width(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

void PrintIndented(FILE* stream, std::string_view text) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::fprintf(stream, "       %.*s\n", static_cast<int>(end), text.data());
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

bool ColorsOn(FILE* stream) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return isatty(fileno(stream)) == 1 && (no_color == nullptr || *no_color == '\0') &&
         term != nullptr && std::strcmp(term, "dumb") != 0;
}

std::string Paint(Color color, std::string_view text, bool on) {
  static constexpr const char* kCodes[] = {"",         "\x1b[1m",  "\x1b[2m",
                                           "\x1b[31m", "\x1b[32m", "\x1b[33m"};
  if (!on || color == Color::kNone) return std::string(text);
  return kCodes[static_cast<int>(color)] + std::string(text) + "\x1b[0m";
}

std::string Table::ToString(bool colors) const {
  std::vector<size_t> widths;
  for (const auto& title : header_) widths.push_back(Width(title));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], Width(row[i].text));
  }
  std::string out;
  const auto line = [&](size_t columns, const auto& text, const auto& color) {
    for (size_t i = 0; i < columns; ++i) {
      out += Paint(color(i), text(i), colors);
      if (i + 1 < columns) out.append(widths[i] - Width(text(i)) + 3, ' ');
    }
    while (!out.empty() && out.back() == ' ') out.pop_back();
    out += '\n';
  };
  line(
      header_.size(), [&](size_t i) -> const std::string& { return header_[i]; },
      [](size_t) { return Color::kDim; });
  for (const auto& row : rows_) {
    line(
        std::min(row.size(), widths.size()),
        [&](size_t i) -> const std::string& { return row[i].text; },
        [&](size_t i) { return row[i].color; });
  }
  return out;
}

void Table::Print(FILE* stream) const { std::fputs(ToString(ColorsOn(stream)).c_str(), stream); }

int Fail(std::string_view what, std::string_view advice) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s %.*s\n", Paint(Color::kRed, "error:", ColorsOn(stderr)).c_str(),
               static_cast<int>(what.size()), what.data());
  PrintIndented(stderr, advice);
  return 1;
}

int Fail(const absl::Status& status, std::string_view advice) {
  return Fail(std::string(status.message()), advice);
}

void Warn(std::string_view what) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s %.*s\n", Paint(Color::kYellow, "warning:", ColorsOn(stderr)).c_str(),
               static_cast<int>(what.size()), what.data());
}

std::string Age(double seconds) {
  const long s = std::max(0L, static_cast<long>(seconds));
  char out[64];
  if (s < 60)
    std::snprintf(out, sizeof(out), "%lds", s);
  else if (s < 3600)
    std::snprintf(out, sizeof(out), "%ldm%02lds", s / 60, s % 60);
  else if (s < 86400)
    std::snprintf(out, sizeof(out), "%ldh%02ldm", s / 3600, s / 60 % 60);
  else
    std::snprintf(out, sizeof(out), "%ldd", s / 86400);
  return out;
}

}  // namespace weft::cli
