// Text to tapes: splitting into documents, libyaml's events, limits, anchors.
#include <yaml.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "api/cpp/scalar.h"
#include "api/cpp/tape.h"
#include "api/cpp/yaml.h"
#include "dataplane/base/strings.h"

namespace weft::api {

using internal::Node;
using internal::NodeKind;
using internal::Tape;

// Gives Documents their tapes.
class DocumentBuilder {
 public:
  static Document Build(std::shared_ptr<const Tape> tape) {
    Document document;
    document.tape_ = std::move(tape);
    return document;
  }
};

namespace {

// Part of the text that holds one document, as a rule: the text is cut at lines that begin with "---", which can't be
// inside any scalar (YAML 1.2 section 9.1.2), so that a mistake in one document leaves the others readable.
struct Chunk {
  std::string_view text;
  int line = 0;  // lines before it
};

// Blank, comment or %DIRECTIVE: belongs to the document that follows.
bool IsPreamble(std::string_view line) {
  const size_t at = line.find_first_not_of(" \t\r");
  return at == std::string_view::npos || line[at] == '#' || line[0] == '%';
}

bool IsDocumentStart(std::string_view line) {
  return line.starts_with("---") && (line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}

std::vector<Chunk> SplitDocuments(std::string_view text) {
  std::vector<Chunk> chunks;
  size_t begin = 0, at = 0;
  int line_number = 0, begin_line = 0;
  bool content = false;
  while (at < text.size()) {
    const void* newline = std::memchr(text.data() + at, '\n', text.size() - at);
    const size_t end = newline == nullptr ? text.size() : static_cast<const char*>(newline) - text.data();
    const std::string_view line = text.substr(at, end - at);
    if (IsDocumentStart(line)) {
      if (content) {
        chunks.push_back({text.substr(begin, at - begin), begin_line});
        begin = at;
        begin_line = line_number;
      }
      content = true;
    } else if (!content) {
      content = !IsPreamble(line);
    }
    at = end + 1;
    ++line_number;
  }
  if (begin < text.size()) chunks.push_back({text.substr(begin), begin_line});
  return chunks;
}

// JSON writes a character beyond U+FFFF as two \u escapes (RFC 8259 section 7), which libyaml refuses. Rewrites such a
// pair as one \U escape. Only for text that looks like JSON. Columns after it, on the same line, move by two.
std::string JoinSurrogates(std::string_view text) {
  const auto hex4 = [&](size_t at) -> int {
    if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return -1;
    int value = 0;
    for (char c : text.substr(at + 2, 4)) {
      const char lower = AsciiLower(c);
      if (lower >= '0' && lower <= '9') {
        value = value * 16 + (lower - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        value = value * 16 + (lower - 'a' + 10);
      } else {
        return -1;
      }
    }
    return value;
  };
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '\\') {
      out += text[i++];
      continue;
    }
    const int high = hex4(i), low = high >= 0xD800 && high < 0xDC00 ? hex4(i + 6) : -1;
    if (low >= 0xDC00 && low < 0xE000) {
      const uint32_t code_point = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
      out += "\\U00";
      for (int shift = 20; shift >= 0; shift -= 4) out += "0123456789abcdef"[code_point >> shift & 15];
      i += 12;
    } else {
      out.append(text.substr(i, 2));  // the escape and what it escapes
      i += 2;
    }
  }
  return out;
}

bool LooksLikeJson(std::string_view text) {
  if (IsDocumentStart(text.substr(0, text.find('\n')))) text.remove_prefix(3);
  const size_t at = text.find_first_not_of(" \t\r\n");
  return at != std::string_view::npos && (text[at] == '{' || text[at] == '[');
}

// Owns a yaml_event_t.
class Event {
 public:
  Event() { std::memset(&event_, 0, sizeof(event_)); }
  ~Event() { yaml_event_delete(&event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  yaml_event_t* get() { return &event_; }
  yaml_event_t* operator->() { return &event_; }

 private:
  yaml_event_t event_;
};

class ChunkParser {
 public:
  ChunkParser(const Chunk& chunk, const std::string& file, const ParseLimits& limits, size_t* nodes_left,
              std::vector<Document>* documents, std::vector<SourceError>* errors)
      : chunk_(chunk), file_(file), limits_(limits), nodes_left_(*nodes_left), documents_(documents), errors_(errors) {
    if (LooksLikeJson(chunk.text) && chunk.text.find("\\u") != std::string_view::npos) {
      joined_ = JoinSurrogates(chunk.text);
      chunk_.text = joined_;
    }
  }

  // False when a limit was hit: the rest of the text is not read.
  bool Parse() {
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) {
      Report(0, 0, "out of memory");
      return false;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, reinterpret_cast<const unsigned char*>(chunk_.text.data()),
                                 chunk_.text.size());
    bool go_on = true;
    while (go_on) {
      Event event;
      if (yaml_parser_parse(&parser, event.get()) == 0) {
        ReportSyntax(parser);
        break;
      }
      if (event->type == YAML_STREAM_END_EVENT) break;
      go_on = Handle(&event);
    }
    yaml_parser_delete(&parser);
    return go_on || !limit_hit_;
  }

 private:
  struct Open {
    uint32_t node;
    std::string anchor;     // its name, as a rule empty
    uint32_t children = 0;  // so far; in a mapping even: a key is next
  };
  struct Anchor {
    uint32_t begin;
    bool complete;
  };

  bool Handle(Event* event) {
    const yaml_mark_t& mark = (*event)->start_mark;
    switch ((*event)->type) {
      case YAML_DOCUMENT_START_EVENT:
        tape_ = std::make_shared<Tape>();
        tape_->file = file_;
        open_.clear();
        anchors_.clear();
        alias_nodes_ = 0;
        bad_ = false;
        return true;
      case YAML_DOCUMENT_END_EVENT:
        FinishDocument();
        return true;
      case YAML_SCALAR_EVENT: {
        const auto& scalar = (*event)->data.scalar;
        const std::string_view text(reinterpret_cast<const char*>(scalar.value), scalar.length);
        bool plain = scalar.style == YAML_PLAIN_SCALAR_STYLE;
        CheckTag(scalar.tag, mark, &plain);
        if (!Add(NodeKind::kScalar, mark, text, plain)) return false;
        if (scalar.anchor != nullptr) anchors_[AsString(scalar.anchor)] = {LastNode(), true};
        return true;
      }
      case YAML_MAPPING_START_EVENT:
        CheckTag((*event)->data.mapping_start.tag, mark, nullptr);
        return AddOpen(NodeKind::kMapping, mark, (*event)->data.mapping_start.anchor);
      case YAML_SEQUENCE_START_EVENT:
        CheckTag((*event)->data.sequence_start.tag, mark, nullptr);
        return AddOpen(NodeKind::kSequence, mark, (*event)->data.sequence_start.anchor);
      case YAML_MAPPING_END_EVENT:
      case YAML_SEQUENCE_END_EVENT: {
        const Open& closed = open_.back();
        tape_->nodes[closed.node].end = static_cast<uint32_t>(tape_->nodes.size());
        const auto anchor = anchors_.find(closed.anchor);
        if (anchor != anchors_.end() && anchor->second.begin == closed.node) anchor->second.complete = true;
        open_.pop_back();
        return true;
      }
      case YAML_ALIAS_EVENT:
        return AddAlias(AsString((*event)->data.alias.anchor), mark);
      default:
        return true;
    }
  }

  static std::string AsString(const yaml_char_t* text) { return reinterpret_cast<const char*>(text); }

  // The core schema's tags say nothing new, except !!str and "!": text, whatever it looks like.
  void CheckTag(const yaml_char_t* tag, const yaml_mark_t& mark, bool* plain) {
    if (tag == nullptr) return;
    const std::string name = AsString(tag);
    if (name == "!" || name == YAML_STR_TAG) {
      if (plain != nullptr) *plain = false;
      return;
    }
    for (std::string_view known : {YAML_NULL_TAG, YAML_BOOL_TAG, YAML_INT_TAG, YAML_FLOAT_TAG, YAML_TIMESTAMP_TAG,
                                   YAML_SEQ_TAG, YAML_MAP_TAG}) {
      if (name == known) return;
    }
    ReportBad(mark, StrCat("the tag ", name, " is not supported; remove it"));
  }

  uint32_t LastNode() const { return static_cast<uint32_t>(tape_->nodes.size() - 1); }

  bool CountNode(const yaml_mark_t& mark) {
    if (nodes_left_ > 0) {
      --nodes_left_;
      return true;
    }
    limit_hit_ = true;
    ReportBad(mark, StrCat("too many values: at most ", limits_.max_nodes, " are read"));
    return false;
  }

  // Counts the child in its parent; checks keys.
  void NoteChild(NodeKind kind, const yaml_mark_t& mark, std::string_view text, bool plain) {
    if (open_.empty()) return;
    Open& parent = open_.back();
    const bool is_key = tape_->nodes[parent.node].kind == NodeKind::kMapping && parent.children % 2 == 0;
    ++parent.children;
    if (!is_key) return;
    if (kind != NodeKind::kScalar) {
      ReportBad(mark, "a key must be a word or a quoted text, not a mapping or a list");
    } else if (plain && text == "<<") {
      ReportBad(mark, "merge keys (<<) are not supported; write the fields out");
    }
  }

  bool Add(NodeKind kind, const yaml_mark_t& mark, std::string_view text, bool plain) {
    if (!CountNode(mark)) return false;
    NoteChild(kind, mark, text, plain);
    Node node;
    node.line = static_cast<uint32_t>(mark.line + 1 + chunk_.line);
    node.column = static_cast<uint32_t>(mark.column + 1);
    node.begin = static_cast<uint32_t>(tape_->pool.size());
    node.size = static_cast<uint32_t>(text.size());
    node.end = static_cast<uint32_t>(tape_->nodes.size() + 1);
    node.kind = kind;
    node.plain = plain;
    tape_->pool.append(text);
    tape_->nodes.push_back(node);
    return true;
  }

  bool AddOpen(NodeKind kind, const yaml_mark_t& mark, const yaml_char_t* anchor) {
    if (!Add(kind, mark, "", false)) return false;
    open_.push_back({LastNode(), anchor == nullptr ? "" : AsString(anchor)});
    if (anchor != nullptr) anchors_[AsString(anchor)] = {LastNode(), false};
    return CheckDepth(mark, open_.size());
  }

  // Levels are collections inside collections.
  bool CheckDepth(const yaml_mark_t& mark, size_t depth) {
    if (depth <= static_cast<size_t>(std::max(limits_.max_depth, 0))) return true;
    ReportBad(mark, StrCat("nested too deeply: at most ", limits_.max_depth, " levels are read"));
    return false;
  }

  // *name repeats the nodes of &name. The copies keep the places of the originals, where a mistake would be mended.
  bool AddAlias(const std::string& name, const yaml_mark_t& mark) {
    const auto found = anchors_.find(name);
    if (found == anchors_.end()) {
      ReportBad(mark, StrCat("*", name, " refers to no earlier &", name));
      return true;
    }
    if (!found->second.complete) {
      ReportBad(mark, StrCat("*", name, " is inside &", name, " itself"));
      return true;
    }
    const uint32_t begin = found->second.begin, end = tape_->nodes[begin].end;
    const size_t count = end - begin;
    alias_nodes_ += count;
    if (alias_nodes_ > limits_.max_alias_nodes || count > nodes_left_) {
      limit_hit_ = true;
      ReportBad(mark, StrCat("aliases repeat too much: at most ", limits_.max_alias_nodes, " values"));
      return false;
    }
    nodes_left_ -= count;
    const Node first = tape_->nodes[begin];
    NoteChild(first.kind, mark, tape_->Text(first), first.plain);
    const uint32_t shift = static_cast<uint32_t>(tape_->nodes.size()) - begin;
    std::vector<uint32_t> ends;  // of the collections that are open in the copy
    tape_->nodes.reserve(tape_->nodes.size() + count);
    for (uint32_t i = begin; i < end; ++i) {
      Node node = tape_->nodes[i];
      while (!ends.empty() && ends.back() <= i) ends.pop_back();
      if (node.kind != NodeKind::kScalar) {
        ends.push_back(node.end);
        if (!CheckDepth(mark, open_.size() + ends.size())) return false;
      }
      node.end += shift;
      tape_->nodes.push_back(node);
    }
    return true;
  }

  void FinishDocument() {
    if (bad_ || tape_ == nullptr || tape_->nodes.empty()) return;
    const Node& root = tape_->nodes[0];
    // Nothing between two "---", or only comments.
    if (root.kind == NodeKind::kScalar && root.plain && ResolvePlain(tape_->Text(root)) == Plain::kNull) return;
    if (root.kind == NodeKind::kMapping && !CheckTopKeys()) return;
    tape_->pool.shrink_to_fit();
    tape_->nodes.shrink_to_fit();
    documents_->push_back(DocumentBuilder::Build(std::move(tape_)));
  }

  // A document is read in parts ("metadata", "spec"), so a part that is there twice can't be left to ReadInto.
  bool CheckTopKeys() {
    std::unordered_map<std::string_view, uint32_t> seen;
    bool good = true;
    for (uint32_t key = 1; key < tape_->nodes[0].end; key = tape_->nodes[key + 1].end) {
      const auto [first, is_new] = seen.emplace(tape_->Text(key), key);
      if (is_new) continue;
      const Node& node = tape_->nodes[key];
      Report(node.line, node.column,
             StrCat("key ", QuoteShort(tape_->Text(key)), " is there twice; first at line ",
                    tape_->nodes[first->second].line));
      good = false;
    }
    return good;
  }

  // The document is left out; the first reason is enough.
  void ReportBad(const yaml_mark_t& mark, std::string message) {
    if (!bad_) Report(static_cast<int>(mark.line) + 1 + chunk_.line, static_cast<int>(mark.column) + 1, message);
    bad_ = true;
  }

  void Report(int line, int column, std::string message) {
    errors_->push_back({.file = file_, .line = line, .column = column, .path = "", .message = std::move(message)});
  }

  // The rest of the line at a place, from its column on.
  std::string_view TextAt(const yaml_mark_t& mark) const {
    std::string_view text = chunk_.text;
    for (size_t line = 0; line < mark.line; ++line) {
      const size_t newline = text.find('\n');
      if (newline == std::string_view::npos) return "";
      text.remove_prefix(newline + 1);
    }
    text = text.substr(0, text.find('\n'));
    for (size_t column = 0; column < mark.column && !text.empty(); ++column) {
      do text.remove_prefix(1);
      while (!text.empty() && (text[0] & 0xC0) == 0x80);
    }
    return text;
  }

  // libyaml's words, and what they usually mean.
  void ReportSyntax(const yaml_parser_t& parser) {
    const std::string problem = parser.problem == nullptr ? "unreadable" : parser.problem;
    if (parser.error == YAML_MEMORY_ERROR) {
      Report(0, 0, "out of memory");
      return;
    }
    if (parser.error == YAML_READER_ERROR) {
      const std::string_view before = chunk_.text.substr(0, std::min(parser.problem_offset, chunk_.text.size()));
      const size_t newline = before.rfind('\n');
      const int line = static_cast<int>(std::count(before.begin(), before.end(), '\n')) + 1 + chunk_.line;
      const size_t column = before.size() - (newline == std::string_view::npos ? 0 : newline + 1) + 1;
      std::string what = "the text is not valid UTF-8 here";
      if (problem.find("control characters") != std::string::npos) {
        what = "a control character is not allowed here; inside double quotes write it as an escape, such as \\u0000";
      }
      Report(line, static_cast<int>(column), what);
      return;
    }
    const yaml_mark_t& mark = parser.problem_mark;
    const std::string_view rest = TextAt(mark);
    std::string message = problem;
    if (problem.find("cannot start any token") != std::string::npos) {
      if (rest.starts_with('\t')) {
        message = "a tab can't indent; use spaces";
      } else {
        message = StrCat("an unquoted value can't begin with '", rest.substr(0, 1), "'; put it in quotes");
      }
    } else if (problem.find("mapping values are not allowed") != std::string::npos) {
      message = "a ':' is not expected here; indent like the line above, or quote a value that contains \": \"";
    } else if (problem.find("did not find expected key") != std::string::npos ||
               problem.find("did not find expected '-' indicator") != std::string::npos) {
      message = StrCat("this does not go on the ", problem.find('-') != std::string::npos ? "list" : "mapping",
                       " that starts at line ", parser.context_mark.line + 1 + chunk_.line,
                       "; check the indentation");
    } else if (problem.find("could not find expected ':'") != std::string::npos) {
      message = StrCat("expected \"key: value\"; there is no ':' after the word at line ",
                       parser.context_mark.line + 1 + chunk_.line);
    } else if (problem.find("found unexpected end of stream") != std::string::npos) {
      message = StrCat("the quote that opens at line ", parser.context_mark.line + 1 + chunk_.line, " is not closed");
    } else if (parser.context != nullptr) {
      message = StrCat(problem, " (", parser.context, " that starts at line ",
                       parser.context_mark.line + 1 + chunk_.line, ")");
    }
    Report(static_cast<int>(mark.line) + 1 + chunk_.line, static_cast<int>(mark.column) + 1, message);
  }

  Chunk chunk_;
  std::string joined_;
  const std::string& file_;
  const ParseLimits& limits_;
  size_t& nodes_left_;
  std::vector<Document>* documents_;
  std::vector<SourceError>* errors_;

  std::shared_ptr<Tape> tape_;
  std::vector<Open> open_;
  std::unordered_map<std::string, Anchor> anchors_;
  size_t alias_nodes_ = 0;
  bool bad_ = false;
  bool limit_hit_ = false;
};

}  // namespace

namespace {
constexpr size_t kMaxErrors = 100;
}

std::vector<Document> ParseDocuments(std::string_view text, std::string file, std::vector<SourceError>* errors,
                                     const ParseLimits& limits) {
  std::vector<Document> documents;
  const auto report = [&](std::string message) {
    errors->push_back({.file = file, .line = 0, .column = 0, .path = "", .message = std::move(message)});
  };
  // Offsets on the tape have 32 bits.
  const size_t max_bytes = std::min<size_t>(limits.max_bytes, 1u << 30);
  if (text.size() > max_bytes) {
    report(StrCat("too large: ", text.size(), " bytes, at most ", max_bytes, " are read"));
    return documents;
  }
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    report("the text is UTF-16; save it as UTF-8");
    return documents;
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  size_t nodes_left = limits.max_nodes;
  const size_t first_error = errors->size();
  for (const Chunk& chunk : SplitDocuments(text)) {
    if (!ChunkParser(chunk, file, limits, &nodes_left, &documents, errors).Parse()) break;
    if (errors->size() - first_error >= kMaxErrors) {
      report("too many mistakes; the rest was not read");
      break;
    }
  }
  return documents;
}

}  // namespace weft::api
