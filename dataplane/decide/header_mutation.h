#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/strings.h"
#include "dataplane/base/substitution/format.h"
#include "dataplane/base/substitution/stream_fields.h"
#include "dataplane/decide/string_match.h"
#include "envoy/config/common/mutation_rules/v3/mutation_rules.pb.h"
#include "envoy/config/core/v3/base.pb.h"

namespace weft::decide {

// One change of a header, shared by routes and the header_mutation filter (envoy.config.core.v3.HeaderValueOption, or
// a removal).
// Owner: the table or filter that it is a part of. Thread: immutable, any.
struct HeaderMutation {
  enum class Op : uint8_t {
    kAppend,             // one more field of that name
    kAddIfAbsent,
    kOverwrite,          // replace, or add
    kOverwriteIfExists,
    kRemove,
    kRemoveOnMatch,      // every field whose name, in lower case, `match` takes; never a protected one
  };
  Op op = Op::kAppend;
  bool keep_empty = false;               // an empty value is written; otherwise the change is left out
  std::string name;                      // lower case
  std::string value;                     // when it has no %COMMAND%
  std::shared_ptr<const Format> format;  // otherwise
  std::shared_ptr<const StringMatch> match;

  // The value for one request: a view into this mutation, or into `scratch`, which it then overwrites.
  std::string_view Value(const StreamFields& fields, std::string* scratch) const {
    if (format == nullptr) return value;
    scratch->clear();
    format->Append(fields, FormatStyle::kHeader, scratch);
    return *scratch;
  }
};

// Pseudo headers, Host, and what belongs to one connection (RFC 9110 section 7.6.1): never changed by configuration.
bool IsProtectedHeader(std::string_view name);

// Removes one field that `m` matches; false when there is none left.
template <typename Headers>
bool RemoveOneMatch(const HeaderMutation& m, std::string* scratch, Headers& headers) {
  for (const auto& header : headers) {
    *scratch = AsciiLower(header.name);
    if (IsProtectedHeader(*scratch) || !m.match->Matches(*scratch)) continue;
    headers.Remove(std::string_view(header.name));
    return true;
  }
  return false;
}

// Applies changes in order. `Headers` is http::HeaderMap or anything with Get(name), Add(name, value), Set(name, value),
// Remove(name) and iteration over {name, value}. Names and literal values stay views into `mutations`, which the caller keeps alive; computed ones go
// through `copy(std::string_view) -> std::string_view` into the caller's arena. Values with a line break or NUL can't
// come up: compile-time text was checked and header values were checked by the codec.
template <typename Headers, typename Copy>
void ApplyMutations(const std::vector<HeaderMutation>& mutations, const StreamFields& fields, std::string* scratch,
                    Copy&& copy, Headers& headers) {
  for (const HeaderMutation& m : mutations) {
    if (m.op == HeaderMutation::Op::kRemove) {
      headers.Remove(std::string_view(m.name));
      continue;
    }
    if (m.op == HeaderMutation::Op::kRemoveOnMatch) {
      while (RemoveOneMatch(m, scratch, headers)) {
      }
      continue;
    }
    if (m.op == HeaderMutation::Op::kAddIfAbsent && headers.Get(std::string_view(m.name)).has_value()) continue;
    if (m.op == HeaderMutation::Op::kOverwriteIfExists && !headers.Get(std::string_view(m.name)).has_value()) continue;
    std::string_view value = m.Value(fields, scratch);
    if (value.empty() && !m.keep_empty) continue;
    if (m.format != nullptr) value = copy(value);
    if (m.op == HeaderMutation::Op::kOverwrite || m.op == HeaderMutation::Op::kOverwriteIfExists) {
      headers.Set(std::string_view(m.name), value);
    } else {
      headers.Add(std::string_view(m.name), value);
    }
  }
}

// Applies the list of one route, virtual host or table: removals first, then every value and every condition sees what
// was there before the list, then replacements, then additions; as Envoy does.
template <typename Headers, typename Copy>
void ApplyMutationsTogether(const std::vector<HeaderMutation>& mutations, const StreamFields& fields,
                            std::string* scratch, Copy&& copy, Headers& headers) {
  struct Change {
    const HeaderMutation* mutation;
    std::string_view value;
  };
  constexpr size_t kFew = 16;
  Change few[kFew];
  std::vector<Change> many;
  Change* changes = few;
  if (mutations.size() > kFew) {
    many.resize(mutations.size());
    changes = many.data();
  }
  size_t count = 0;
  for (const HeaderMutation& m : mutations) {
    if (m.op == HeaderMutation::Op::kRemove) headers.Remove(std::string_view(m.name));
  }
  for (const HeaderMutation& m : mutations) {
    using Op = HeaderMutation::Op;
    if (m.op == Op::kRemove || m.op == Op::kRemoveOnMatch) continue;
    if (m.op == Op::kAddIfAbsent && headers.Get(std::string_view(m.name)).has_value()) continue;
    if (m.op == Op::kOverwriteIfExists && !headers.Get(std::string_view(m.name)).has_value()) continue;
    std::string_view value = m.Value(fields, scratch);
    if (value.empty() && !m.keep_empty) continue;
    changes[count++] = {&m, m.format != nullptr ? copy(value) : value};
  }
  auto replaces = [](const Change& c) {
    return c.mutation->op == HeaderMutation::Op::kOverwrite ||
           c.mutation->op == HeaderMutation::Op::kOverwriteIfExists;
  };
  for (size_t i = 0; i < count; ++i) {
    if (replaces(changes[i])) headers.Set(std::string_view(changes[i].mutation->name), changes[i].value);
  }
  for (size_t i = 0; i < count; ++i) {
    if (!replaces(changes[i])) headers.Add(std::string_view(changes[i].mutation->name), changes[i].value);
  }
}

// Compilers. `path` is the field's path for errors; false when there was an error.
bool CompileHeaderValue(const envoy::config::core::v3::HeaderValueOption& option, const std::string& path,
                        Errors* errors, std::vector<HeaderMutation>* out);
bool CompileMutation(const envoy::config::common::mutation_rules::v3::HeaderMutation& mutation, const std::string& path,
                     RegexPool* regexes, Errors* errors, std::vector<HeaderMutation>* out);
bool CompileHeaderRemoval(const std::string& name, const std::string& path, Errors* errors,
                          std::vector<HeaderMutation>* out);

// The pair of lists that routes, virtual hosts and tables carry: removals come first, so that "remove, then add"
// replaces (as in Envoy). `add_path` is such as "virtual_hosts[0].request_headers_to_add".
void CompileMutations(const google::protobuf::RepeatedPtrField<envoy::config::core::v3::HeaderValueOption>& add,
                      const google::protobuf::RepeatedPtrField<std::string>& remove, const std::string& add_path,
                      const std::string& remove_path, Errors* errors, std::vector<HeaderMutation>* out);

// RFC 9110 section 5.1: a token.
bool IsHeaderName(std::string_view name);

}  // namespace weft::decide
