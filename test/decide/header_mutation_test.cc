#include "dataplane/decide/header_mutation.h"

#include <deque>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test/decide/testing.h"

namespace weft::decide {
namespace {

using testing::HasSubstr;
using envoy::config::core::v3::HeaderValueOption;

// What ApplyMutations needs of a header map.
struct Fields {
  struct Field {
    std::string name, value;
  };
  std::vector<Field> fields;

  auto begin() const { return fields.begin(); }
  auto end() const { return fields.end(); }
  std::optional<std::string_view> Get(std::string_view name) const {
    for (const Field& f : fields) {
      if (EqualsIgnoreCase(f.name, name)) return f.value;
    }
    return std::nullopt;
  }
  void Add(std::string_view name, std::string_view value) { fields.push_back({std::string(name), std::string(value)}); }
  void Set(std::string_view name, std::string_view value) {
    Remove(std::string(name));
    Add(name, value);
  }
  void Remove(std::string_view name) {
    std::string copy(name);
    std::erase_if(fields, [&](const Field& f) { return EqualsIgnoreCase(f.name, copy); });
  }
  std::string Text() const {
    std::string out;
    for (const Field& f : fields) out += f.name + "=" + f.value + ";";
    return out;
  }
};

class MutationTest : public testing::Test {
 protected:
  void Add(const std::string& option) {
    Errors errors(&list);
    CompileHeaderValue(FromText<HeaderValueOption>(option), "add", &errors, &mutations);
  }
  std::string Apply(Fields headers) {
    EXPECT_TRUE(list.empty()) << Lines(list);
    std::string scratch;
    ApplyMutations(
        mutations, stream, &scratch, [this](std::string_view s) { return std::string_view(arena.emplace_back(s)); },
        headers);
    return headers.Text();
  }

  std::vector<api::SourceError> list;
  std::vector<HeaderMutation> mutations;
  StreamFields stream;
  std::deque<std::string> arena;
};

TEST_F(MutationTest, Actions) {
  Add("header { key: 'X-App' value: '1' }");
  Add("header { key: 'X-If' value: '2' } append_action: ADD_IF_ABSENT");
  Add("header { key: 'X-Over' value: '3' } append_action: OVERWRITE_IF_EXISTS_OR_ADD");
  Add("header { key: 'X-Exists' value: '4' } append_action: OVERWRITE_IF_EXISTS");
  EXPECT_EQ(Apply({}), "x-app=1;x-if=2;x-over=3;");
  EXPECT_EQ(Apply({{{"X-App", "0"}, {"X-If", "0"}, {"X-Over", "0"}, {"x-over", "00"}, {"X-Exists", "0"}}}),
            "X-App=0;X-If=0;x-app=1;x-over=3;x-exists=4;");
}

TEST_F(MutationTest, RemovalsComeFirst) {
  Errors errors(&list);
  google::protobuf::RepeatedPtrField<HeaderValueOption> add;
  *add.Add() = FromText<HeaderValueOption>("header { key: 'a' value: 'new' }");
  google::protobuf::RepeatedPtrField<std::string> remove;
  *remove.Add() = "A";
  CompileMutations(add, remove, "add", "remove", &errors, &mutations);
  EXPECT_EQ(Apply({{{"a", "1"}, {"b", "2"}, {"A", "3"}}}), "b=2;a=new;");
}

TEST_F(MutationTest, Commands) {
  MapHeaders request{{"user-agent", "curl"}};
  stream.request_headers = &request;
  stream.downstream_remote_address = "10.0.0.1:4000";
  stream.protocol = "HTTP/1.1";
  Add("header { key: 'x-client' value: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%' }");
  Add("header { key: 'x-note' value: '100%% %REQ(USER-AGENT)% over %PROTOCOL%' }");
  Add("header { key: 'x-literal' value: '50%%' }");
  EXPECT_EQ(Apply({}), "x-client=10.0.0.1;x-note=100% curl over HTTP/1.1;x-literal=50%;");
  EXPECT_EQ(mutations[2].format, nullptr);
  EXPECT_EQ(mutations[2].value, "50%");
}

TEST_F(MutationTest, EmptyValuesAreLeftOutUnlessKept) {
  Add("header { key: 'a' value: '%REQ(X-NONE)%' }");
  Add("header { key: 'b' value: '' }");
  Add("header { key: 'c' value: '%REQ(X-NONE)%' } keep_empty_value: true");
  EXPECT_EQ(Apply({{{"a", "old"}}}), "a=old;c=;");
}

// A list of a route: values and conditions see what was there before it, replacements come before additions.
TEST_F(MutationTest, TogetherSeesWhatWasThereBefore) {
  Add("header { key: 'a' value: 'new' } append_action: OVERWRITE_IF_EXISTS_OR_ADD");
  Add("header { key: 'b' value: '%REQ(a)%' }");
  Add("header { key: 'c' value: '1' }");
  Add("header { key: 'c' value: '2' } append_action: ADD_IF_ABSENT");
  Add("header { key: 'd' value: '%REQ(gone)%.' } append_action: OVERWRITE_IF_EXISTS_OR_ADD");
  Errors errors(&list);
  CompileHeaderRemoval("gone", "remove", &errors, &mutations);
  // Formats read the map that is changed, as in an exchange.
  struct Source final : HeaderSource {
    explicit Source(const Fields& f) : fields(f) {}
    std::optional<std::string_view> Get(std::string_view name) const override { return fields.Get(name); }
    const Fields& fields;
  };
  Fields headers{{{"a", "old"}, {"gone", "x"}}};
  Source source(headers);
  stream.request_headers = &source;
  std::string scratch;
  ASSERT_TRUE(list.empty()) << Lines(list);
  ApplyMutationsTogether(
      mutations, stream, &scratch, [this](std::string_view s) { return std::string_view(arena.emplace_back(s)); }, headers);
  EXPECT_EQ(headers.Text(), "a=new;d=.;b=old;c=1;c=2;");
}

TEST_F(MutationTest, FilterMutations) {
  using Proto = envoy::config::common::mutation_rules::v3::HeaderMutation;
  Errors errors(&list);
  RegexPool regexes;
  for (const char* text : {"append { header { key: 'x-b' value: '1' } }", "remove: 'x-gone'",
                           "remove_on_match { key_matcher { prefix: 'x-internal-' } }",
                           "remove_on_match { key_matcher { exact: 'host' } }"}) {
    CompileMutation(FromText<Proto>(text), "m", &regexes, &errors, &mutations);
  }
  EXPECT_EQ(Apply({{{"Host", "h"}, {"X-Internal-A", "1"}, {"x-gone", "2"}, {"x-internal-b", "3"}, {"y", "4"}}}),
            "Host=h;y=4;x-b=1;");
  CompileMutation(Proto(), "m", &regexes, &errors, &mutations);
  EXPECT_EQ(Lines(list), "m: one of remove, append, remove_on_match is missing\n");
}

TEST_F(MutationTest, Errors) {
  Add("header { key: '' value: 'x' }");
  Add("header { key: ':path' value: 'x' }");
  Add("header { key: 'Host' value: 'x' }");
  Add("header { key: 'Content-Length' value: '0' }");
  Add("header { key: 'a b' value: 'x' }");
  Add("header { key: 'a' value: 'x\\r\\nb: c' }");
  Add("header { key: 'a' value: '%WHAT%' }");
  EXPECT_TRUE(mutations.empty());
  std::string lines = Lines(list);
  EXPECT_THAT(lines, HasSubstr("add.header.key: a header name is missing\n"));
  EXPECT_THAT(lines, HasSubstr("add.header.key: \":path\": pseudo headers and host can't be changed here"));
  EXPECT_THAT(lines, HasSubstr("add.header.key: \"Host\": pseudo headers"));
  EXPECT_THAT(lines, HasSubstr("add.header.key: \"Content-Length\" belongs to one connection"));
  EXPECT_THAT(lines, HasSubstr("add.header.key: \"a b\" is not a header name\n"));
  EXPECT_THAT(lines, HasSubstr("add.header.value: holds a line break or NUL"));
  EXPECT_THAT(lines, HasSubstr("add.header.value: %WHAT% at byte 0: unknown command"));
}

}  // namespace
}  // namespace weft::decide
