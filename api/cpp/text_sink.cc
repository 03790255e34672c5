#include "api/cpp/text_sink.h"

#include <vector>

#include "api/cpp/scalar.h"
#include "dataplane/base/strings.h"

namespace weft::api::internal {
namespace {

class JsonSink : public TextSink {
 public:
  explicit JsonSink(bool pretty) : pretty_(pretty) {}

  void BeginObject() override { Open('{'); }
  void EndObject() override { Close('}'); }
  void BeginArray() override { Open('['); }
  void EndArray() override { Close(']'); }
  void Key(std::string_view key) override {
    Next();
    out_ += Quote(key);
    out_ += pretty_ ? ": " : ":";
  }
  void Item() override { Next(); }
  void String(std::string_view text) override { out_ += Quote(text); }
  void Literal(std::string_view text) override { out_ += text; }
  void Number64(std::string_view text) override { StrAppend(&out_, '"', text, '"'); }
  std::string Take() override { return std::move(out_); }

 private:
  void Open(char bracket) {
    out_ += bracket;
    counts_.push_back(0);
  }
  void Close(char bracket) {
    const bool empty = counts_.back() == 0;
    counts_.pop_back();
    if (!empty) NewLine();
    out_ += bracket;
  }
  void Next() {
    if (counts_.back()++ > 0) out_ += ',';
    NewLine();
  }
  void NewLine() {
    if (!pretty_) return;
    out_ += '\n';
    out_.append(counts_.size() * 2, ' ');
  }

  const bool pretty_;
  std::string out_;
  std::vector<int> counts_;  // members so far of what is open
};

// Whether text can stand in block style without quotes and be read as that text by any YAML reader. Stricter than YAML.
bool IsSafePlain(std::string_view text, bool key) {
  if (text.empty() || text.back() == ' ' || text.back() == ':') return false;
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (!is_word(text[0]) && text[0] != '/' && text[0] != '.') return false;
  bool clock = true;  // 12:30:45 and 2024-05-01 are numbers and dates to YAML 1.1
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!is_word(c) && std::string_view("-./@%+=~()<>*;$^|:, ").find(c) == std::string_view::npos) return false;
    if (c == ':' && (key || text[i + 1] == ' ')) return false;
    clock &= (c >= '0' && c <= '9') || c == ':' || c == '-' || c == '_';
  }
  return !clock && text != "..." && !text.starts_with("... ") && ResolvePlain(text) == Plain::kString;
}

// Whether text of several lines can stand as a literal block (|), and reads back exactly.
bool IsSafeBlock(std::string_view text) {
  if (text.find('\n') == std::string_view::npos || text.ends_with("\n\n") || text[0] == '\n' || text[0] == ' ') {
    return false;
  }
  bool line_start = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      if (i > 0 && text[i - 1] == ' ') return false;  // editors cut it
      line_start = true;
      continue;
    }
    if (c < 0x20 || c > 0x7E) return false;
    if (line_start && c == ' ' && text.substr(i).find_first_not_of(' ') == std::string_view::npos) return false;
    line_start = false;
  }
  return text.back() != ' ';
}

class YamlSink : public TextSink {
 public:
  void BeginObject() override { frames_.push_back({.list = false, .indent = ChildIndent(false), .after = after_}); }
  void BeginArray() override { frames_.push_back({.list = true, .indent = ChildIndent(true), .after = after_}); }
  void EndObject() override { Close("{}"); }
  void EndArray() override { Close("[]"); }

  void Key(std::string_view key) override {
    StartMember();
    const std::string text = IsSafePlain(key, true) ? std::string(key) : Quote(key);
    if (text.size() <= kLongestSimpleKey) {
      StrAppend(&out_, text, ":");
    } else {
      // A key beyond 1024 characters needs the form with "?" (YAML 1.2 section 8.2.2).
      StrAppend(&out_, "? ", text, "\n", std::string(frames_.back().indent, ' '), ":");
    }
    after_ = After::kKey;
  }

  void Item() override {
    StartMember();
    out_ += "-";
    after_ = After::kDash;
  }

  void String(std::string_view text) override {
    if (IsSafePlain(text, false)) return Literal(text);
    if (frames_.empty() || !IsSafeBlock(text)) return Literal(Quote(text));
    const std::string indent(frames_.back().indent + 2, ' ');
    const bool ends_line = text.ends_with('\n');
    StrAppend(&out_, ends_line ? " |\n" : " |-\n");
    if (ends_line) text.remove_suffix(1);
    while (true) {
      const size_t end = text.find('\n');
      const std::string_view line = text.substr(0, end);
      if (!line.empty()) StrAppend(&out_, indent, line);
      out_ += '\n';
      if (end == std::string_view::npos) break;
      text.remove_prefix(end + 1);
    }
  }

  void Literal(std::string_view text) override { StrAppend(&out_, after_ == After::kNothing ? "" : " ", text, "\n"); }
  void Number64(std::string_view text) override { Literal(text); }
  std::string Take() override { return std::move(out_); }

 private:
  static constexpr size_t kLongestSimpleKey = 900;
  enum class After { kNothing, kKey, kDash };
  struct Frame {
    bool list;
    size_t indent;
    After after;  // what stands before it
    int members = 0;
  };

  // A list under a key stands as far left as the key, as Kubernetes' tools write it.
  size_t ChildIndent(bool list) const {
    if (frames_.empty()) return 0;
    return frames_.back().indent + (list && after_ == After::kKey ? 0 : 2);
  }

  void StartMember() {
    Frame& frame = frames_.back();
    if (frame.members++ > 0) {
      out_.append(frame.indent, ' ');
    } else if (frame.after == After::kKey) {
      out_ += '\n';
      out_.append(frame.indent, ' ');
    } else if (frame.after == After::kDash) {
      out_ += ' ';  // the first member shares the line of the dash
    }
  }

  void Close(std::string_view when_empty) {
    const Frame frame = frames_.back();
    frames_.pop_back();
    if (frame.members == 0) {
      after_ = frame.after;
      Literal(when_empty);
    }
  }

  std::string out_;
  std::vector<Frame> frames_;
  After after_ = After::kNothing;
};

}  // namespace

std::unique_ptr<TextSink> MakeJsonSink(bool pretty) { return std::make_unique<JsonSink>(pretty); }
std::unique_ptr<TextSink> MakeYamlSink() { return std::make_unique<YamlSink>(); }

}  // namespace weft::api::internal
