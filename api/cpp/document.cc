// Finding things in a document: paths, places, keys.
#include <charconv>

#include "api/cpp/scalar.h"
#include "api/cpp/tape.h"
#include "api/cpp/yaml.h"
#include "dataplane/base/strings.h"

namespace weft::api {

using internal::Node;
using internal::NodeKind;
using internal::PathStep;
using internal::Tape;

namespace internal {

bool SplitPath(std::string_view path, std::vector<PathStep>* steps) {
  while (!path.empty()) {
    if (path[0] == '[') {
      const bool quoted = path.starts_with("[\"");
      const size_t close = quoted ? path.find("\"]", 2) : path.find(']');
      if (close == std::string_view::npos) return false;
      PathStep step;
      if (quoted) {
        step.key = path.substr(2, close - 2);
      } else {
        const std::string_view digits = path.substr(1, close - 1);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step.index);
        if (error != std::errc() || end != digits.data() + digits.size() || step.index < 0) return false;
      }
      steps->push_back(std::move(step));
      path.remove_prefix(close + (quoted ? 2 : 1));
    } else {
      const size_t end = std::min(path.find_first_of(".["), path.size());
      if (end == 0) return false;
      steps->push_back({.key = std::string(path.substr(0, end)), .index = -1});
      path.remove_prefix(end);
    }
    if (path.starts_with('.')) {
      path.remove_prefix(1);
      if (path.empty()) return false;
    }
  }
  return true;
}

namespace {
bool SameLetters(std::string_view a, std::string_view b) {
  size_t i = 0, j = 0;
  while (true) {
    while (i < a.size() && a[i] == '_') ++i;
    while (j < b.size() && b[j] == '_') ++j;
    if (i == a.size() || j == b.size()) return i == a.size() && j == b.size();
    if (AsciiLower(a[i++]) != AsciiLower(b[j++])) return false;
  }
}
}  // namespace

uint32_t FindValue(const Tape& tape, uint32_t node, std::string_view key, bool exact, uint32_t* key_node) {
  if (tape.nodes[node].kind != NodeKind::kMapping) return 0;
  const uint32_t end = tape.nodes[node].end;
  for (const bool loose : {false, true}) {
    if (loose && exact) break;
    for (uint32_t at = node + 1; at < end; at = tape.nodes[at + 1].end) {
      if (loose ? !SameLetters(tape.Text(at), key) : tape.Text(at) != key) continue;
      if (key_node != nullptr) *key_node = at;
      return at + 1;
    }
  }
  return 0;
}

}  // namespace internal

namespace {

// Walks as far as the path goes; `place` is the node to point at (the key of a collection, the scalar itself).
// Returns whether the whole path was there.
bool Follow(const Tape& tape, std::string_view path, bool exact, uint32_t* node, uint32_t* place) {
  *node = 0;
  *place = 0;
  std::vector<PathStep> steps;
  if (!internal::SplitPath(path, &steps)) return false;
  for (const PathStep& step : steps) {
    if (step.index < 0) {
      uint32_t key = 0;
      const uint32_t value = internal::FindValue(tape, *node, step.key, exact, &key);
      if (value == 0) return false;
      *node = value;
      // A block collection begins on the line after its key: the key is what a person looks for. So it is when the
      // value is empty.
      *place = tape.nodes[value].kind == NodeKind::kScalar && tape.nodes[value].size > 0 ? value : key;
    } else {
      if (tape.nodes[*node].kind != NodeKind::kSequence) return false;
      uint32_t item = *node + 1;
      for (int i = 0; i < step.index && item < tape.nodes[*node].end; ++i) item = tape.nodes[item].end;
      if (item >= tape.nodes[*node].end) return false;
      *node = *place = item;
    }
  }
  return true;
}

}  // namespace

std::string SourceError::ToString() const {
  std::string out = file;
  if (line > 0) {
    StrAppend(&out, out.empty() ? "" : ":", line);
    if (column > 0) StrAppend(&out, ":", column);
  }
  if (!out.empty()) out += ": ";
  if (warning) out += "warning: ";
  if (!path.empty()) StrAppend(&out, path, ": ");
  return out + message;
}

std::string ToString(const std::vector<SourceError>& errors) {
  std::string out;
  for (const SourceError& error : errors) StrAppend(&out, error.ToString(), "\n");
  return out;
}

bool HasError(const std::vector<SourceError>& errors) {
  for (const SourceError& error : errors) {
    if (!error.warning) return true;
  }
  return false;
}

std::string_view Document::file() const { return tape_->file; }
int Document::line() const { return static_cast<int>(tape_->nodes[0].line); }
int Document::column() const { return static_cast<int>(tape_->nodes[0].column); }

std::optional<std::string> Document::ScalarAt(std::string_view path) const {
  uint32_t node, place;
  if (!Follow(*tape_, path, false, &node, &place)) return std::nullopt;
  const Node& found = tape_->nodes[node];
  if (found.kind != NodeKind::kScalar) return std::nullopt;
  const std::string_view text = tape_->Text(found);
  if (found.plain && ResolvePlain(text) == Plain::kNull) return std::nullopt;
  return std::string(text);
}

std::vector<std::string> Document::Keys() const {
  std::vector<std::string> keys;
  if (tape_->nodes[0].kind != NodeKind::kMapping) return keys;
  for (uint32_t at = 1; at < tape_->nodes[0].end; at = tape_->nodes[at + 1].end) {
    keys.emplace_back(tape_->Text(at));
  }
  return keys;
}

SourceError Document::ErrorAt(std::string_view path, std::string message) const {
  uint32_t node, place;
  Follow(*tape_, path, false, &node, &place);
  SourceError error;
  error.file = tape_->file;
  error.line = static_cast<int>(tape_->nodes[place].line);
  error.column = static_cast<int>(tape_->nodes[place].column);
  error.path = path;
  error.message = std::move(message);
  return error;
}

}  // namespace weft::api
