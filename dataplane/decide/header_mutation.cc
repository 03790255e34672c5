#include "dataplane/decide/header_mutation.h"

#include "dataplane/base/strings.h"

namespace weft::decide {
namespace {

using envoy::config::core::v3::HeaderValueOption;

// Framing and routing belong to the proxy.
bool CheckName(const std::string& name, const std::string& path, Errors* errors) {
  if (name.empty()) {
    errors->Add(path, "a header name is missing");
    return false;
  }
  if (name[0] == ':' || EqualsIgnoreCase(name, "host")) {
    errors->Add(path, StrCat("\"", name, "\": pseudo headers and host can't be changed here (see host_rewrite_literal ",
                             "and prefix_rewrite)"));
    return false;
  }
  if (!IsHeaderName(name)) {
    errors->Add(path, StrCat("\"", name, "\" is not a header name"));
    return false;
  }
  if (IsProtectedHeader(name)) {
    errors->Add(path, StrCat("\"", name, "\" belongs to one connection and is set by the proxy alone"));
    return false;
  }
  return true;
}

}  // namespace

bool IsHeaderName(std::string_view name) {
  if (name.empty()) return false;
  for (unsigned char c : name) {
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
    if (!ok) return false;
  }
  return true;
}

bool IsProtectedHeader(std::string_view name) {
  if (name.empty() || name[0] == ':') return true;
  for (std::string_view other : {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade",
                                 "te", "trailer", "proxy-connection"}) {
    if (EqualsIgnoreCase(name, other)) return true;
  }
  return false;
}

bool CompileHeaderValue(const HeaderValueOption& option, const std::string& path, Errors* errors,
                        std::vector<HeaderMutation>* out) {
  if (!CheckName(option.header().key(), path + ".header.key", errors)) return false;
  HeaderMutation m;
  m.name = AsciiLower(option.header().key());
  m.keep_empty = option.keep_empty_value();
  switch (option.append_action()) {
    case HeaderValueOption::APPEND_IF_EXISTS_OR_ADD:
      m.op = HeaderMutation::Op::kAppend;
      break;
    case HeaderValueOption::ADD_IF_ABSENT:
      m.op = HeaderMutation::Op::kAddIfAbsent;
      break;
    case HeaderValueOption::OVERWRITE_IF_EXISTS_OR_ADD:
      m.op = HeaderMutation::Op::kOverwrite;
      break;
    case HeaderValueOption::OVERWRITE_IF_EXISTS:
      m.op = HeaderMutation::Op::kOverwriteIfExists;
      break;
    default:
      errors->Add(path + ".append_action", StrCat("unknown value ", static_cast<int>(option.append_action())));
      return false;
  }
  absl::StatusOr<Format> format = Format::Compile(option.header().value());
  if (!format.ok()) {
    errors->Add(path + ".header.value", std::string(format.status().message()));
    return false;
  }
  if (format->has_line_break()) {
    errors->Add(path + ".header.value", "holds a line break or NUL, which would change the message's framing");
    return false;
  }
  if (format->is_literal()) {
    m.value = std::string(format->literal());
  } else {
    m.format = std::make_shared<const Format>(*std::move(format));
  }
  out->push_back(std::move(m));
  return true;
}

bool CompileHeaderRemoval(const std::string& name, const std::string& path, Errors* errors,
                          std::vector<HeaderMutation>* out) {
  if (!CheckName(name, path, errors)) return false;
  HeaderMutation m;
  m.op = HeaderMutation::Op::kRemove;
  m.name = AsciiLower(name);
  out->push_back(std::move(m));
  return true;
}

bool CompileMutation(const envoy::config::common::mutation_rules::v3::HeaderMutation& mutation, const std::string& path,
                     RegexPool* regexes, Errors* errors, std::vector<HeaderMutation>* out) {
  using Proto = envoy::config::common::mutation_rules::v3::HeaderMutation;
  switch (mutation.action_case()) {
    case Proto::kRemove:
      return CompileHeaderRemoval(mutation.remove(), path + ".remove", errors, out);
    case Proto::kAppend:
      return CompileHeaderValue(mutation.append(), path + ".append", errors, out);
    case Proto::kRemoveOnMatch: {
      HeaderMutation m;
      m.op = HeaderMutation::Op::kRemoveOnMatch;
      m.match = std::make_shared<const StringMatch>(StringMatch::Compile(
          mutation.remove_on_match().key_matcher(), path + ".remove_on_match.key_matcher", regexes, errors));
      out->push_back(std::move(m));
      return !errors->any();
    }
    case Proto::ACTION_NOT_SET:
      errors->Add(path, "one of remove, append, remove_on_match is missing");
      return false;
  }
  return false;
}

void CompileMutations(const google::protobuf::RepeatedPtrField<HeaderValueOption>& add,
                      const google::protobuf::RepeatedPtrField<std::string>& remove, const std::string& add_path,
                      const std::string& remove_path, Errors* errors, std::vector<HeaderMutation>* out) {
  out->reserve(static_cast<size_t>(add.size() + remove.size()));
  for (int i = 0; i < remove.size(); ++i) {
    CompileHeaderRemoval(remove[i], StrCat(remove_path, "[", i, "]"), errors, out);
  }
  for (int i = 0; i < add.size(); ++i) CompileHeaderValue(add[i], StrCat(add_path, "[", i, "]"), errors, out);
}

}  // namespace weft::decide
