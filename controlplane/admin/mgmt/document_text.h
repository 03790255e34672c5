#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace weft::ctl::admin {

// The text of a YAML file as a row of documents, for changing one and leaving the others as they
// are, comments and layout included. It knows where documents begin and end (YAML 1.2, 9.1: a line
// that starts with "---" or "..."), not what is in them. Owner: a value. Thread: one at a time.
class DocumentText {
 public:
  explicit DocumentText(std::string_view text);

  size_t size() const { return parts_.size(); }
  // The document that has this line, 1-based, of the text that it was made of.
  size_t IndexOfLine(int line) const;
  // Without the line that separates it from the one before.
  std::string_view body(size_t index) const { return parts_[index].body; }

  // `document` may begin with a separator; it gets a final newline. Lines do not move: IndexOfLine
  // holds.
  void Replace(size_t index, std::string_view document);
  void Remove(size_t index);
  void Append(std::string_view document);

  std::string ToString() const;
  // Nothing but comments and blank lines.
  bool empty() const;

 private:
  struct Part {
    int line = 1;
    std::string separator;  // "---\n"; "---" when text follows on its line; empty for a first
                            // document without
    std::string body;
    bool removed = false;
  };
  std::vector<Part> parts_;
};

// Without separators, markers and blank lines around it, with a final newline.
std::string TrimDocument(std::string_view document);

}  // namespace weft::ctl::admin
