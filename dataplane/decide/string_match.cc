#include "dataplane/decide/string_match.h"

#include "dataplane/base/strings.h"

namespace weft::decide {
namespace {

using envoy::type::matcher::v3::StringMatcher;

bool Equal(std::string_view value, std::string_view pattern, bool ignore_case) {
  return ignore_case ? EqualsIgnoreCase(value, pattern) : value == pattern;
}

bool Contains(std::string_view value, std::string_view pattern, bool ignore_case) {
  if (!ignore_case) return value.find(pattern) != std::string_view::npos;
  for (size_t i = 0; i + pattern.size() <= value.size(); ++i) {
    if (EqualsIgnoreCase(value.substr(i, pattern.size()), pattern)) return true;
  }
  return false;
}

}  // namespace

void Errors::Push(std::string path, std::string message, bool warning) {
  if (!warning) any_ = true;
  if (out_ == nullptr) return;
  api::SourceError error;
  error.path = std::move(path);
  error.message = std::move(message);
  error.warning = warning;
  out_->push_back(std::move(error));
}

std::shared_ptr<const RE2> RegexPool::Get(const envoy::type::matcher::v3::RegexMatcher& regex, const std::string& path,
                                          Errors* errors) {
  if (regex.regex().empty()) {
    errors->Add(path + ".regex", "a regular expression is missing");
    return nullptr;
  }
  std::shared_ptr<const RE2>& slot = made_[regex.regex()];
  if (slot == nullptr) {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_never_capture(true);  // only whether it matches
    slot = std::make_shared<const RE2>(regex.regex(), options);
  }
  if (!slot->ok()) {
    errors->Add(path + ".regex", StrCat("\"", regex.regex(), "\" is not a regular expression (RE2): ", slot->error()));
    return nullptr;
  }
  return slot;
}

StringMatch StringMatch::Compile(const StringMatcher& matcher, const std::string& path, RegexPool* regexes,
                                 Errors* errors) {
  StringMatch out;
  out.ignore_case_ = matcher.ignore_case();
  auto text = [&](Kind kind, const std::string& value, const char* field) {
    out.kind_ = kind;
    out.text_ = out.ignore_case_ ? AsciiLower(value) : value;
    if (kind != Kind::kExact && value.empty()) {
      errors->Add(StrCat(path, ".", field), "must not be empty (it would match every value)");
    }
  };
  switch (matcher.match_pattern_case()) {
    case StringMatcher::kExact:
      text(Kind::kExact, matcher.exact(), "exact");
      break;
    case StringMatcher::kPrefix:
      text(Kind::kPrefix, matcher.prefix(), "prefix");
      break;
    case StringMatcher::kSuffix:
      text(Kind::kSuffix, matcher.suffix(), "suffix");
      break;
    case StringMatcher::kContains:
      text(Kind::kContains, matcher.contains(), "contains");
      break;
    case StringMatcher::kSafeRegex:
      out.kind_ = Kind::kRegex;
      out.text_ = matcher.safe_regex().regex();
      out.regex_ = regexes->Get(matcher.safe_regex(), path + ".safe_regex", errors);
      break;
    case StringMatcher::MATCH_PATTERN_NOT_SET:
      errors->Add(path, "one of exact, prefix, suffix, contains, safe_regex is missing");
      break;
  }
  return out;
}

bool StringMatch::Matches(std::string_view value) const {
  switch (kind_) {
    case Kind::kExact:
      return Equal(value, text_, ignore_case_);
    case Kind::kPrefix:
      return value.size() >= text_.size() && Equal(value.substr(0, text_.size()), text_, ignore_case_);
    case Kind::kSuffix:
      return value.size() >= text_.size() && Equal(value.substr(value.size() - text_.size()), text_, ignore_case_);
    case Kind::kContains:
      return Contains(value, text_, ignore_case_);
    case Kind::kRegex:
      return RE2::FullMatch(re2::StringPiece(value.data(), value.size()), *regex_);
  }
  return false;
}

std::string StringMatch::Describe() const {
  static constexpr const char* kVerbs[] = {"is", "has prefix", "has suffix", "contains", "matches"};
  return StrCat(kVerbs[static_cast<int>(kind_)], " \"", text_, "\"", ignore_case_ ? " (any case)" : "");
}

}  // namespace weft::decide
