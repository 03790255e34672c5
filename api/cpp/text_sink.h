// Where a printer's objects, arrays and scalars become text. Private to this folder.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace weft::api::internal {

// Owner: the printing function. Thread: the caller's. Destroyed when: the text is taken.
class TextSink {
 public:
  virtual ~TextSink() = default;
  virtual void BeginObject() = 0;
  virtual void Key(std::string_view key) = 0;  // then exactly one value
  virtual void EndObject() = 0;
  virtual void BeginArray() = 0;
  virtual void Item() = 0;  // then exactly one value
  virtual void EndArray() = 0;
  virtual void String(std::string_view text) = 0;
  virtual void Literal(std::string_view text) = 0;   // number, true, false, null
  virtual void Number64(std::string_view text) = 0;  // JSON: a string, since its readers have doubles
  virtual std::string Take() = 0;
};

std::unique_ptr<TextSink> MakeJsonSink(bool pretty);
std::unique_ptr<TextSink> MakeYamlSink();

}  // namespace weft::api::internal
