#include "controlplane/admin/mgmt/document_text.h"

#include <algorithm>

namespace weft::ctl::admin {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// "---" or "..." at the start of a line, alone or before a blank.
bool IsMarker(std::string_view line, std::string_view marker) {
  return line.starts_with(marker) && (line.size() == 3 || IsBlank(line[3]));
}

bool HasContent(std::string_view text) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const size_t first = line.find_first_not_of(" \t\r");
    if (first != std::string_view::npos && line[first] != '#' && !IsMarker(line, "...") &&
        !IsMarker(line, "---")) {
      return true;
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return false;
}

bool EndsDocument(std::string_view body) {
  // The last line is "...".
  if (body.ends_with('\n')) body.remove_suffix(1);
  const size_t start = body.rfind('\n');
  return IsMarker(start == std::string_view::npos ? body : body.substr(start + 1), "...");
}

}  // namespace

DocumentText::DocumentText(std::string_view text) {
  parts_.emplace_back();
  int number = 1;
  bool ended = false;
  for (size_t at = 0; at < text.size(); ++number) {
    const size_t end = text.find('\n', at);
    const std::string_view line =
        text.substr(at, end == std::string_view::npos ? end : end + 1 - at);
    at += line.size();
    if (IsMarker(line, "---")) {
      parts_.emplace_back();
      Part& part = parts_.back();
      part.line = number;
      const bool alone = std::all_of(line.begin() + 3, line.end(), IsBlank);
      part.separator = alone ? line : line.substr(0, 3);
      part.body = alone ? std::string_view() : line.substr(3);
      ended = false;
      continue;
    }
    if (ended) {
      parts_.emplace_back();
      parts_.back().line = number;
    }
    parts_.back().body += line;
    ended = IsMarker(line, "...");
  }
}

size_t DocumentText::IndexOfLine(int line) const {
  size_t index = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (parts_[i].line <= line) index = i;
  }
  return index;
}

void DocumentText::Replace(size_t index, std::string_view document) {
  Part& part = parts_[index];
  if (!part.separator.empty()) part.separator = "---\n";
  part.body = TrimDocument(document);
  part.removed = false;
}

void DocumentText::Remove(size_t index) {
  parts_[index].removed = true;
  parts_[index].separator.clear();
  parts_[index].body.clear();
}

void DocumentText::Append(std::string_view document) {
  const bool first = empty();
  Part& part = parts_.emplace_back();
  part.line = parts_.size() > 1 ? parts_[parts_.size() - 2].line : 1;
  if (!first) part.separator = "---\n";
  part.body = TrimDocument(document);
}

std::string DocumentText::ToString() const {
  std::string out;
  bool has_document = false;
  for (const Part& part : parts_) {
    if (part.removed) continue;
    if (!out.empty() && !out.ends_with('\n')) out += '\n';
    const bool content = HasContent(part.body);
    // What stood before may have been replaced by something that needs a separator.
    if (part.separator.empty() && has_document && content && !EndsDocument(out)) {
      out += "---\n";
    } else {
      out += part.separator;
    }
    out += part.body;
    has_document |= content;
  }
  return out;
}

bool DocumentText::empty() const {
  return std::none_of(parts_.begin(), parts_.end(),
                      [](const Part& part) { return HasContent(part.body); });
}

std::string TrimDocument(std::string_view document) {
  while (true) {
    const size_t end = document.find('\n');
    const std::string_view line = document.substr(0, end);
    const bool blank = std::all_of(line.begin(), line.end(), IsBlank);
    const bool separator =
        IsMarker(line, "---") && std::all_of(line.begin() + 3, line.end(), IsBlank);
    if (!blank && !separator) break;
    if (end == std::string_view::npos) return "";
    document.remove_prefix(end + 1);
  }
  // "--- {a: 1}": the rest of the line is the document's.
  if (IsMarker(document, "---")) document.remove_prefix(4);
  while (true) {
    while (!document.empty() && IsBlank(document.back())) document.remove_suffix(1);
    const size_t start = document.rfind('\n');
    const std::string_view last =
        start == std::string_view::npos ? document : document.substr(start + 1);
    if (!IsMarker(last, "...")) break;
    document.remove_suffix(last.size());
  }
  return document.empty() ? "" : std::string(document) + "\n";
}

}  // namespace weft::ctl::admin
