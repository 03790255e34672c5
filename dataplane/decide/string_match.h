#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/cpp/yaml.h"
#include "envoy/type/matcher/v3/regex.pb.h"
#include "envoy/type/matcher/v3/string.pb.h"
#include "re2/re2.h"

namespace weft::decide {

// Where compilers put what they find wrong, with the path of the field.
class Errors {
 public:
  explicit Errors(std::vector<api::SourceError>* out) : out_(out) {}

  void Add(std::string path, std::string message) { Push(std::move(path), std::move(message), false); }
  void Warn(std::string path, std::string message) { Push(std::move(path), std::move(message), true); }
  // Errors, not warnings.
  bool any() const { return any_; }

 private:
  void Push(std::string path, std::string message, bool warning);

  std::vector<api::SourceError>* const out_;
  bool any_ = false;
};

// Compiled expressions of one configuration: equal ones are compiled once.
// Owner: a compiler, on its stack. Thread: the compiler's.
class RegexPool {
 public:
  // Null, and an error at `path`, when it is not a regular expression.
  std::shared_ptr<const RE2> Get(const envoy::type::matcher::v3::RegexMatcher& regex, const std::string& path,
                                 Errors* errors);

 private:
  std::map<std::string, std::shared_ptr<const RE2>> made_;
};

// envoy.type.matcher.v3.StringMatcher, compiled. Matching allocates nothing.
// Owner: the table that it is a part of. Thread: immutable, any.
class StringMatch {
 public:
  static StringMatch Compile(const envoy::type::matcher::v3::StringMatcher& matcher, const std::string& path,
                             RegexPool* regexes, Errors* errors);

  bool Matches(std::string_view value) const;
  // "has prefix \"v1\"": for traces.
  std::string Describe() const;

 private:
  enum class Kind : uint8_t { kExact, kPrefix, kSuffix, kContains, kRegex };
  Kind kind_ = Kind::kExact;
  bool ignore_case_ = false;
  std::string text_;  // in lower case when case does not count
  std::shared_ptr<const RE2> regex_;
};

}  // namespace weft::decide
