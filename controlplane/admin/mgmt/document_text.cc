#include "controlplane/admin/mgmt/document_text.h"

#include <algorithm>

namespace weft::ctl::admin {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t'; }

// Length of the line break at `at`; 0: there is none. The reader (YAML 1.1, 4.2) knows more of them
// than editors do.
size_t BreakAt(std::string_view text, size_t at) {
  const std::string_view rest = text.substr(at);
  if (rest.starts_with("\r\n") || rest.starts_with("\xC2\x85")) return 2;
  if (rest.starts_with('\n') || rest.starts_with('\r')) return 1;
  return rest.starts_with("\xE2\x80\xA8") || rest.starts_with("\xE2\x80\xA9") ? 3 : 0;
}

struct Line {
  std::string_view text, with_break;

  bool blank() const { return std::all_of(text.begin(), text.end(), IsSpace); }
  // "---" or "..." at its start, alone or before a blank.
  bool IsMarker(std::string_view marker) const {
    return text.starts_with(marker) && (text.size() == 3 || IsSpace(text[3]));
  }
  bool IsBareSeparator() const {
    return IsMarker("---") && std::all_of(text.begin() + 3, text.end(), IsSpace);
  }
};

std::vector<Line> LinesOf(std::string_view text) {
  std::vector<Line> lines;
  for (size_t start = 0; start < text.size();) {
    size_t end = start;
    size_t length = 0;
    while (end < text.size() && (length = BreakAt(text, end)) == 0) ++end;
    lines.push_back({text.substr(start, end - start), text.substr(start, end - start + length)});
    start = end + length;
  }
  return lines;
}

bool HasContent(std::string_view text) {
  for (const Line& line : LinesOf(text)) {
    const size_t first = line.text.find_first_not_of(" \t");
    const bool nothing = first == std::string_view::npos || line.text[first] == '#' ||
                         line.IsMarker("...") || line.IsMarker("---");
    if (!nothing) return true;
  }
  return false;
}

// Whether more can be added without changing the last line.
bool EndsLine(std::string_view text) {
  const std::vector<Line> lines = LinesOf(text);
  return lines.empty() || lines.back().with_break.size() > lines.back().text.size();
}

bool EndsDocument(std::string_view body) {
  const std::vector<Line> lines = LinesOf(body);
  return !lines.empty() && lines.back().IsMarker("...");
}

}  // namespace

DocumentText::DocumentText(std::string_view text) {
  parts_.emplace_back();
  int number = 0;
  bool ended = false;
  for (const Line& line : LinesOf(text)) {
    ++number;
    if (line.IsMarker("---")) {
      Part& part = parts_.emplace_back();
      part.line = number;
      const bool alone = line.IsBareSeparator();
      part.separator = alone ? line.with_break : line.with_break.substr(0, 3);
      part.body = alone ? std::string_view() : line.with_break.substr(3);
      ended = false;
      continue;
    }
    if (ended) {
      parts_.emplace_back();
      parts_.back().line = number;
    }
    parts_.back().body += line.with_break;
    ended = line.IsMarker("...");
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
    if (!EndsLine(out)) out += '\n';
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
  std::vector<Line> lines = LinesOf(document);
  size_t first = 0;
  while (first < lines.size() && (lines[first].blank() || lines[first].IsBareSeparator())) ++first;
  size_t last = lines.size();
  while (last > first && (lines[last - 1].blank() || lines[last - 1].IsMarker("..."))) --last;
  std::string out;
  for (size_t i = first; i < last; ++i) {
    std::string_view text = i + 1 < last ? lines[i].with_break : lines[i].text;
    // "--- {a: 1}": the rest of the line is the document's.
    if (i == first && lines[i].IsMarker("---")) text.remove_prefix(4);
    out += text;
  }
  while (!out.empty() && IsSpace(out.back())) out.pop_back();
  return out.empty() ? "" : out + "\n";
}

}  // namespace weft::ctl::admin
