// Printing, and that what was printed reads back.
#include "api/cpp/json.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "api/cpp/envoy_types.h"
#include "api/cpp/yaml.h"
#include "envoy/admin/v3/config_dump.pb.h"
#include "envoy/admin/v3/config_dump_shared.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "everything.pb.h"
#include "istio/networking/v1alpha3/virtual_service.pb.h"
#include "weft/meta/v1/meta.pb.h"

namespace weft::api {
namespace {

using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;
using weft::test::Everything;

template <typename M>
M Parse(std::string_view text) {
  std::vector<SourceError> errors;
  M out;
  for (const Document& document : ParseDocuments(text, "f", &errors)) document.ReadInto(&out, {}, &errors);
  EXPECT_TRUE(errors.empty()) << ToString(errors) << text;
  return out;
}

Everything Full() {
  return Parse<Everything>(R"(
a_bool: true
an_int32: -5
an_int64: -9007199254740993
a_uint64: 18446744073709551615
a_float: 0.1
a_double: 1e100
a_string: "yes"
some_bytes: AP9B
color: DARK_BLUE
child: {children: [{}, {words: [a, "", "1.10", "- x", "a: b", "#c", " lead", "trail ", "null", "~", "e\tf", "1e3"]}]}
by_int32: {10: ten, -5: five, 9: nine}
by_bool: {true: 1, false: 0}
by_uint64: {7: {maybe: 0}}
by_name: {"": empty, "a b": c, "no": d, "x:y": e, "app.kubernetes.io/name": f}
colors_by_name: {a: RED}
as_text: ""
duration: -0.000000001s
timestamp: "1969-12-31T23:59:59.5Z"
struct: {a: [null, 1, {b: false}, [], {}], z: [[1, [2]], [{a: 1, b: 2}]]}
value: null
list_value: [1, "2", -0.0]
bool_value: false
string_value: ""
double_value: .inf
uint32_value: 7
any: {"@type": type.googleapis.com/weft.test.Everything, a_string: x, any: {"@type": type.googleapis.com/google.protobuf.Duration, value: 1s}}
anys_by_name: {e: {"@type": type.googleapis.com/weft.test.Everything}}
empty: {}
)");
}

TEST(JsonTest, EqualsProtobufsOwn) {
  const Everything m = Full();
  std::string expected;
  google::protobuf::util::JsonPrintOptions options;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(m, &expected, options).ok());
  // As trees: the order of members and the spelling of numbers may differ.
  google::protobuf::Struct ours, theirs;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(MessageToJson(m), &ours).ok()) << MessageToJson(m);
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(expected, &theirs).ok());
  std::string difference;
  MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(theirs, ours)) << difference;
}

TEST(JsonTest, ReadsBack) {
  const Everything m = Full();
  for (const bool proto_names : {false, true}) {
    for (const bool always : {false, true}) {
      PrintOptions options{.proto_field_names = proto_names, .always_print = always};
      EXPECT_TRUE(MessageDifferencer::Equals(Parse<Everything>(MessageToYaml(m, options)), m)) << MessageToYaml(m, options);
      EXPECT_TRUE(MessageDifferencer::Equals(Parse<Everything>(MessageToJson(m, options)), m));
      options.pretty = false;
      EXPECT_TRUE(MessageDifferencer::Equals(Parse<Everything>(MessageToJson(m, options)), m));
      Everything theirs;
      EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(MessageToJson(m, options), &theirs).ok());
      EXPECT_TRUE(MessageDifferencer::Equals(theirs, m));
    }
  }
}

TEST(JsonTest, Layout) {
  const auto m = Parse<Everything>("{a_bool: true, numbers: [1, 2], child: {a_string: x}, empty: {}, words: []}");
  EXPECT_EQ(MessageToJson(m, {.pretty = false}),
            R"({"aBool":true,"child":{"aString":"x"},"numbers":[1,2],"empty":{}})");
  EXPECT_EQ(MessageToJson(m, {.proto_field_names = true}), R"({
  "a_bool": true,
  "child": {
    "a_string": "x"
  },
  "numbers": [
    1,
    2
  ],
  "empty": {}
})");
  EXPECT_EQ(MessageToJson(Everything()), "{}");
  EXPECT_EQ(MessageToYaml(Everything()), "{}\n");
}

TEST(JsonTest, AlwaysPrint) {
  const std::string text = MessageToYaml(weft::meta::v1::ResourceRef(), {.always_print = true});
  EXPECT_EQ(text, "apiVersion: \"\"\nkind: \"\"\nnamespace: \"\"\nname: \"\"\n");
  const std::string all = MessageToJson(Everything(), {.pretty = false, .always_print = true});
  EXPECT_NE(all.find("\"numbers\":[]"), std::string::npos);
  EXPECT_NE(all.find("\"byName\":{}"), std::string::npos);
  EXPECT_EQ(all.find("\"child\""), std::string::npos);
  EXPECT_EQ(all.find("\"maybe\""), std::string::npos);
  EXPECT_EQ(all.find("\"asText\""), std::string::npos);
}

TEST(YamlTest, Layout) {
  EXPECT_EQ(MessageToYaml(Parse<Everything>(R"(
children:
- a_bool: true
  numbers: [1, 2]
- {}
- children: [{words: [x]}]
- by_name: {b: "on", a: "two\nlines\n", c: "two\nlines", d: "ends badly \n", e: "\n"}
struct: {list: [[1, [2]], [], {}]}
an_int64: 5
some_bytes: MTIzNA==
)"),
                          {.proto_field_names = true}),
            R"(an_int64: 5
some_bytes: MTIzNA==
children:
- a_bool: true
  numbers:
  - 1
  - 2
- {}
- children:
  - words:
    - x
- by_name:
    a: |
      two
      lines
    b: "on"
    c: |-
      two
      lines
    d: "ends badly \n"
    e: "\n"
struct:
  list:
  - - 1
    - - 2
  - []
  - {}
)");
}

TEST(YamlTest, WhatIsQuoted) {
  const auto printed = [](const char* text) {
    Everything m;
    m.mutable_string_value()->set_value(text);
    const std::string yaml = MessageToYaml(m);
    return yaml.substr(13, yaml.size() - 14);  // without "stringValue: " and the line end
  };
  for (const char* text : {"a", "reviews.default.svc.cluster.local", "outbound|9080|v1|reviews", "/a/b", "127.0.0.1",
                           "a b", "a, b", "a:b", "x-y_z", "spiffe://d/ns/a/sa/b", "v1", "1.2.3", "100ms", "a'b"}) {
    const std::string got = printed(text);
    EXPECT_TRUE(got == text || got == '"' + std::string(text) + '"') << got;
    if (std::string_view(text) != "a'b") {
      EXPECT_EQ(got, text);
    }
  }
  for (const char* text : {"", "no", "Null", "~", "1", "1.10", "0x1f", "1_000", "1e3", ".inf", "- a", "a: b", "a:", "a #b",
                           "#a", "*a", "&a", "!a", "|", ">", "%a", "@a", "`a", "[a", "{a", "'a", "\"a", " a", "a ",
                           "12:30", "2024-05-01", "...", "---", "?", "? a", "=", "<<", "a\tb", "ä", "-1", "127.0.0.1: x"}) {
    EXPECT_EQ(printed(text).front(), '"') << text;
  }
}

// Strings that are hard for YAML, as keys and as values, alone and in lists.
TEST(YamlTest, AnyTextReadsBack) {
  std::vector<std::string> texts = {"\n", "\n\n", "a\n", "a\n\n", "\na", " a\nb", "a\n b", "a\n  \nb", "a\nb ", "a\r\nb",
                                    "a\n---\nb", "---\na", "...", "a\n#b", "a: b\nc: d", "\xC2\x85", "\xE2\x80\xA8",
                                    "\xEF\xBB\xBF", "\x7F", std::string(1, '\0'), "a\tb\nc", "\tb\nc", "?\na", "- a\n- b"};
  texts.push_back(std::string(5000, 'k'));
  texts.push_back(std::string(2000, '\n'));
  std::mt19937 random(7);
  const std::string_view alphabet = " \n\t:#-'\"\\[]{},&*!|>%@`?~=<ab0.\r";
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (size_t length = random() % 9; text.size() < length;) text += alphabet[random() % alphabet.size()];
    texts.push_back(text);
  }
  Everything m;
  for (const std::string& text : texts) {
    Everything one;
    one.set_a_string(text);
    one.add_words(text);
    (*one.mutable_by_name())[text] = text;
    *one.mutable_value()->mutable_list_value()->add_values()->mutable_string_value() = text;
    const std::string yaml = MessageToYaml(one);
    ASSERT_TRUE(MessageDifferencer::Equals(Parse<Everything>(yaml), one)) << yaml;
    if (text.size() < 900) {
      ASSERT_TRUE(MessageDifferencer::Equals(Parse<Everything>(MessageToJson(one)), one)) << MessageToJson(one);
    }
    (*(*m.mutable_by_uint64())[m.by_uint64_size()].mutable_by_name())[text] = text;
  }
  EXPECT_TRUE(MessageDifferencer::Equals(Parse<Everything>(MessageToYaml(m)), m));
}

TEST(YamlTest, LongKeysOfMapsOfMessagesAndLists) {
  Everything m;
  google::protobuf::Struct& inner = *m.mutable_struct_();
  const std::string key(1500, 'k');
  auto& list = *(*inner.mutable_fields())[key].mutable_list_value();
  list.add_values()->set_number_value(1);
  (*list.add_values()->mutable_struct_value()->mutable_fields())[key].set_bool_value(true);
  (*inner.mutable_fields())[key + "2"].mutable_struct_value();
  (*(*inner.mutable_fields())[key + "3"].mutable_struct_value()->mutable_fields())[key].set_string_value("a\nb\n");
  EXPECT_TRUE(MessageDifferencer::Equals(Parse<Everything>(MessageToYaml(m)), m)) << MessageToYaml(m);
}

TEST(PrintTest, EqualMessagesGiveEqualText) {
  Everything a, b;
  for (int i = 0; i < 50; ++i) (*a.mutable_by_name())[std::to_string(i)] = "x";
  for (int i = 49; i >= 0; --i) (*b.mutable_by_name())[std::to_string(i)] = "x";
  EXPECT_EQ(MessageToJson(a), MessageToJson(b));
  EXPECT_EQ(MessageToYaml(a), MessageToYaml(b));
  const auto numbers = Parse<Everything>("by_int32: {10: a, 9: b, -1: c}");
  EXPECT_EQ(MessageToJson(numbers, {.pretty = false}), R"({"byInt32":{"9":"b","-1":"c","10":"a"}})");
}

TEST(PrintTest, NeverFails) {
  Everything m;
  m.mutable_any()->set_type_url("type.googleapis.com/not.linked.In");
  m.mutable_any()->set_value("\x01\x02");
  EXPECT_EQ(MessageToJson(m, {.pretty = false}),
            R"({"any":{"@type":"type.googleapis.com/not.linked.In","value":"AQI="}})");
  m.mutable_any()->set_type_url("type.googleapis.com/weft.test.Everything");  // bytes that are none
  m.mutable_any()->set_value("\xFF\xFF");
  EXPECT_EQ(MessageToJson(m, {.pretty = false}),
            R"({"any":{"@type":"type.googleapis.com/weft.test.Everything","value":"//8="}})");
  m.Clear();
  m.set_color(static_cast<Everything::Color>(99));
  EXPECT_EQ(MessageToYaml(m), "color: 99\n");
  m.Clear();
  m.mutable_value();
  EXPECT_EQ(MessageToYaml(m), "value: null\n");
  m.Clear();
  m.set_a_string("a\xFFz");
  EXPECT_EQ(MessageToJson(m, {.pretty = false}), "{\"aString\":\"a\xEF\xBF\xBDz\"}");
}

TEST(PrintTest, AnyInsideAnyIsBounded) {
  google::protobuf::Any any;
  any.set_type_url("type.googleapis.com/google.protobuf.Empty");
  for (int i = 0; i < 20000; ++i) {
    google::protobuf::Any outer;
    outer.set_type_url("type.googleapis.com/google.protobuf.Any");
    outer.set_value(any.SerializeAsString());
    any = std::move(outer);
    if (any.value().size() > 200000) break;
  }
  EXPECT_FALSE(MessageToJson(any).empty());
  EXPECT_FALSE(MessageToYaml(any).empty());
}

TEST(PrintTest, Resource) {
  weft::meta::v1::ObjectMeta metadata;
  metadata.set_name("reviews");
  (*metadata.mutable_labels())["app"] = "reviews";
  const auto spec = Parse<istio::networking::v1alpha3::VirtualService>(
      "{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}, weight: 100}]}]}");
  EXPECT_EQ(ResourceToYaml("networking.istio.io/v1alpha3", "VirtualService", metadata, spec),
            R"(apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: reviews
  labels:
    app: reviews
spec:
  hosts:
  - reviews
  http:
  - route:
    - destination:
        host: reviews
        subset: v1
      weight: 100
)");
  EXPECT_EQ(ResourceToJson("v1", "Kind", weft::meta::v1::ObjectMeta(), google::protobuf::Struct(), {.pretty = false}),
            R"({"apiVersion":"v1","kind":"Kind","metadata":{},"spec":{}})");
}

TEST(PrintTest, ConfigDump) {
  LinkEnvoyTypes();
  envoy::config::cluster::v3::Cluster cluster;
  cluster.set_name("outbound|9080||reviews.default.svc.cluster.local");
  envoy::admin::v3::ClustersConfigDump clusters;
  clusters.add_static_clusters()->mutable_cluster()->PackFrom(cluster);
  envoy::admin::v3::ConfigDump dump;
  dump.add_configs()->PackFrom(clusters);
  EXPECT_EQ(MessageToYaml(dump, {.proto_field_names = true}), R"(configs:
- "@type": type.googleapis.com/envoy.admin.v3.ClustersConfigDump
  static_clusters:
  - cluster:
      "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
      name: outbound|9080||reviews.default.svc.cluster.local
)");
}

}  // namespace
}  // namespace weft::api
