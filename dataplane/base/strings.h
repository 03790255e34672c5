#pragma once

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

namespace weft {

// Small string helpers over std::string_view. (Debian's Abseil is built with a string_view of its own, so absl::StrCat
// and friends do not take std::string_view.)

namespace internal {
inline void AppendPiece(std::string* out, std::string_view s) { out->append(s); }
inline void AppendPiece(std::string* out, char c) { out->push_back(c); }
template <std::integral T>
  requires(!std::same_as<T, char> && !std::same_as<T, bool>)
void AppendPiece(std::string* out, T n) {
  char buf[24];
  out->append(buf, std::to_chars(buf, buf + sizeof(buf), n).ptr);
}
template <std::floating_point T>
void AppendPiece(std::string* out, T n) {
  char buf[64];
  out->append(buf, std::to_chars(buf, buf + sizeof(buf), n).ptr);
}
}  // namespace internal

// Texts, characters and numbers, one after the other.
template <typename... T>
void StrAppend(std::string* out, const T&... pieces) {
  (internal::AppendPiece(out, pieces), ...);
}
template <typename... T>
std::string StrCat(const T&... pieces) {
  std::string out;
  StrAppend(&out, pieces...);
  return out;
}

constexpr char AsciiLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

inline std::string AsciiLower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = AsciiLower(c);
  return out;
}

inline bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (AsciiLower(a[i]) != AsciiLower(b[i])) return false;
  }
  return true;
}

}  // namespace weft
