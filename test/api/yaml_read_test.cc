// What the reader makes of good input: each kind of field in each form, documents, limits, places.
#include "api/cpp/yaml.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <thread>

#include "everything.pb.h"
#include "istio/networking/v1alpha3/destination_rule.pb.h"
#include "istio/networking/v1alpha3/virtual_service.pb.h"
#include "weft/dev/v1/mesh.pb.h"

namespace weft::api {
namespace {

using weft::test::Everything;

Everything Read(std::string_view text, const ReadOptions& options = {}, std::string_view key = "") {
  std::vector<SourceError> errors;
  Everything out;
  const std::vector<Document> documents = ParseDocuments(text, "f.yaml", &errors);
  EXPECT_EQ(documents.size(), 1u) << text;
  if (!documents.empty()) {
    EXPECT_TRUE(documents[0].ReadInto(&out, options, &errors, key));
  }
  EXPECT_TRUE(errors.empty()) << ToString(errors);
  return out;
}

TEST(YamlReadTest, Integers) {
  EXPECT_EQ(Read("an_int32: -2147483648").an_int32(), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(Read("an_int32: 2147483647").an_int32(), std::numeric_limits<int32_t>::max());
  EXPECT_EQ(Read("an_int32: '12'").an_int32(), 12);
  EXPECT_EQ(Read("an_int32: +12").an_int32(), 12);
  EXPECT_EQ(Read("an_int32: 0x1f").an_int32(), 31);
  EXPECT_EQ(Read("an_int32: -0x1F").an_int32(), -31);
  EXPECT_EQ(Read("an_int32: 0o17").an_int32(), 15);
  EXPECT_EQ(Read("an_int32: 0b101").an_int32(), 5);
  EXPECT_EQ(Read("an_int32: 1e3").an_int32(), 1000);
  EXPECT_EQ(Read("an_int32: 5.0").an_int32(), 5);
  EXPECT_EQ(Read("an_int32: -0").an_int32(), 0);
  EXPECT_EQ(Read("an_int64: -9223372036854775808").an_int64(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(Read("an_int64: '9223372036854775807'").an_int64(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Read("a_uint32: 4294967295").a_uint32(), 4294967295u);
  EXPECT_EQ(Read("a_uint64: 18446744073709551615").a_uint64(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(Read("a_sint32: -7").a_sint32(), -7);
  EXPECT_EQ(Read("a_fixed64: 7").a_fixed64(), 7u);
}

TEST(YamlReadTest, Floats) {
  EXPECT_EQ(Read("a_double: 1.5").a_double(), 1.5);
  EXPECT_EQ(Read("a_double: .5").a_double(), 0.5);
  EXPECT_EQ(Read("a_double: +5.").a_double(), 5.0);
  EXPECT_EQ(Read("a_double: -1e-3").a_double(), -0.001);
  EXPECT_EQ(Read("a_double: 7").a_double(), 7);
  EXPECT_EQ(Read("a_double: '7.25'").a_double(), 7.25);
  EXPECT_EQ(Read("a_double: 18446744073709551616").a_double(), 18446744073709551616.0);
  EXPECT_EQ(Read("a_double: 0x10").a_double(), 16);
  EXPECT_EQ(Read("a_double: 1e-999").a_double(), 0);
  EXPECT_EQ(Read("a_double: .inf").a_double(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(Read("a_double: -Infinity").a_double(), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(Read("a_double: NaN").a_double()));
  EXPECT_TRUE(std::signbit(Read("a_double: -0").a_double()));
  EXPECT_EQ(Read("a_float: 0.1").a_float(), 0.1f);
  EXPECT_EQ(Read("a_float: .inf").a_float(), std::numeric_limits<float>::infinity());
}

TEST(YamlReadTest, Booleans) {
  for (const char* word : {"true", "True", "TRUE", "yes", "Yes", "on", "ON", "y"}) {
    EXPECT_TRUE(Read(std::string("a_bool: ") + word).a_bool()) << word;
  }
  for (const char* word : {"false", "no", "Off", "n"}) {
    EXPECT_FALSE(Read(std::string("{bool_value: ") + word + "}").bool_value().value()) << word;
    EXPECT_TRUE(Read(std::string("{bool_value: ") + word + "}").has_bool_value()) << word;
  }
}

TEST(YamlReadTest, Strings) {
  EXPECT_EQ(Read("a_string: plain text").a_string(), "plain text");
  EXPECT_EQ(Read("a_string: 'no'").a_string(), "no");
  EXPECT_EQ(Read("a_string: \"1.10\"").a_string(), "1.10");
  EXPECT_EQ(Read("a_string: !!str 1.10").a_string(), "1.10");
  EXPECT_EQ(Read("a_string: ''").a_string(), "");
  EXPECT_EQ(Read("a_string: 127.0.0.1:80").a_string(), "127.0.0.1:80");
  EXPECT_EQ(Read("a_string: 2024-05-01").a_string(), "2024-05-01");
  EXPECT_EQ(Read("a_string: outbound|9080||reviews").a_string(), "outbound|9080||reviews");
  EXPECT_EQ(Read("a_string: |\n  one\n  two\n").a_string(), "one\ntwo\n");
  EXPECT_EQ(Read("a_string: >-\n  one\n  two\n").a_string(), "one two");
  EXPECT_EQ(Read("a_string: \"\\u00e4\\n\\x41\"").a_string(), "ä\nA");
  EXPECT_EQ(Read("a_string: \"a\\0b\"").a_string(), std::string("a\0b", 3));
  EXPECT_EQ(Read("a_string: nullable").a_string(), "nullable");
}

TEST(YamlReadTest, Bytes) {
  EXPECT_EQ(Read("some_bytes: aGVsbG8=").some_bytes(), "hello");
  EXPECT_EQ(Read("some_bytes: aGVsbG8").some_bytes(), "hello");
  EXPECT_EQ(Read("some_bytes: -_8=").some_bytes(), "\xFB\xFF");
  EXPECT_EQ(Read("some_bytes: '+/8='").some_bytes(), "\xFB\xFF");
  EXPECT_EQ(Read("some_bytes: |\n  aGVs\n  bG8=\n").some_bytes(), "hello");
  EXPECT_EQ(Read("some_bytes: ''").some_bytes(), "");
  EXPECT_EQ(Read("bytes_value: AAAA").bytes_value().value(), std::string(3, '\0'));
}

TEST(YamlReadTest, Enums) {
  EXPECT_EQ(Read("color: GREEN").color(), Everything::GREEN);
  EXPECT_EQ(Read("color: 'GREEN'").color(), Everything::GREEN);
  EXPECT_EQ(Read("color: 7").color(), Everything::DARK_BLUE);
  EXPECT_EQ(Read("color: -3").color(), Everything::NEGATIVE);
  EXPECT_EQ(Read("colors: [RED, 2]").colors(1), Everything::GREEN);
}

TEST(YamlReadTest, ListsAndMaps) {
  const Everything m = Read(R"(
numbers: [1, 2]
words:
- a
- 'no'
flags: [true, false]
doubles: [1, 2.5]
blobs: [QQ==]
big_numbers: ['18446744073709551615']
floats: [0.5]
signed_numbers: [-1]
children:
- an_int32: 1
- {}
by_name: {a: x, no: w, 1: z, "": empty}
by_int32: {-1: minus, "2": two}
by_uint64: {18446744073709551615: {a_bool: true}}
by_bool: {true: 1, "false": 0}
)");
  EXPECT_EQ(m.numbers(1), 2);
  EXPECT_EQ(m.words(1), "no");
  EXPECT_TRUE(m.flags(0));
  EXPECT_EQ(m.doubles(1), 2.5);
  EXPECT_EQ(m.blobs(0), "A");
  EXPECT_EQ(m.big_numbers(0), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(m.floats(0), 0.5f);
  EXPECT_EQ(m.signed_numbers(0), -1);
  EXPECT_EQ(m.children_size(), 2);
  EXPECT_EQ(m.by_name().at("no"), "w");
  EXPECT_EQ(m.by_name().at("1"), "z");
  EXPECT_EQ(m.by_name().at(""), "empty");
  EXPECT_EQ(m.by_int32().at(-1), "minus");
  EXPECT_EQ(m.by_int32().at(2), "two");
  EXPECT_TRUE(m.by_uint64().at(std::numeric_limits<uint64_t>::max()).a_bool());
  EXPECT_EQ(m.by_bool().at(true), 1);
  EXPECT_EQ(m.by_bool().size(), 2u);
}

TEST(YamlReadTest, NullIsUnset) {
  const Everything m = Read("a_string:\nan_int32: ~\nchild: null\nwords: Null\nas_text: null\nas_number: 1\n"
                            "uint32_value: null\nby_name:\nmaybe: null\nany: null\ncolor: null\nduration: ~\n");
  EXPECT_FALSE(m.has_child());
  EXPECT_FALSE(m.has_uint32_value());
  EXPECT_FALSE(m.has_maybe());
  EXPECT_FALSE(m.has_any());
  EXPECT_FALSE(m.has_duration());
  EXPECT_EQ(m.choice_case(), Everything::kAsNumber);
}

TEST(YamlReadTest, PresenceOfEmpty) {
  EXPECT_TRUE(Read("child: {}").has_child());
  EXPECT_TRUE(Read("maybe: 0").has_maybe());
  EXPECT_TRUE(Read("uint32_value: 0").has_uint32_value());
  EXPECT_EQ(Read("as_number: 0").choice_case(), Everything::kAsNumber);
  EXPECT_TRUE(Read("empty: {}").has_empty());
  EXPECT_TRUE(Read("any: {}").has_any());
}

TEST(YamlReadTest, NamesInEitherSpelling) {
  EXPECT_EQ(Read("anInt32: 1").an_int32(), 1);
  EXPECT_EQ(Read("an_int32: 1").an_int32(), 1);
  EXPECT_EQ(Read("otherName: x").renamed(), "x");
  EXPECT_EQ(Read("renamed: x").renamed(), "x");
  EXPECT_EQ(Read("oddlyNamed_5xx: 5").oddlynamed_5xx(), 5);
  std::vector<SourceError> errors;
  istio::networking::v1alpha3::OutlierDetection outlier;
  EXPECT_TRUE(ParseDocuments("consecutive5xxErrors: 3", "f", &errors)[0].ReadInto(&outlier, {}, &errors));
  EXPECT_EQ(outlier.consecutive_5xx_errors().value(), 3u);
}

TEST(YamlReadTest, WellKnownTypes) {
  const Everything m = Read(R"(
duration: -1.5s
durations: [0s, 3s, 0.000000001s]
timestamp: 2024-05-01T12:00:00.25+02:00
struct: {a: 1, b: [x, null, true, 1.5, "1"], c: {d: off}}
value: [1]
list_value: [a, {b: c}]
values_by_name: {n: null, s: text}
)");
  EXPECT_EQ(m.duration().seconds(), -1);
  EXPECT_EQ(m.duration().nanos(), -500000000);
  EXPECT_EQ(m.durations(2).nanos(), 1);
  EXPECT_EQ(m.timestamp().seconds(), 1714557600);
  EXPECT_EQ(m.timestamp().nanos(), 250000000);
  EXPECT_EQ(m.struct_().fields().at("a").number_value(), 1);
  const auto& list = m.struct_().fields().at("b").list_value();
  EXPECT_EQ(list.values(0).string_value(), "x");
  EXPECT_EQ(list.values(1).kind_case(), google::protobuf::Value::kNullValue);
  EXPECT_TRUE(list.values(2).bool_value());
  EXPECT_EQ(list.values(3).number_value(), 1.5);
  EXPECT_EQ(list.values(4).string_value(), "1");
  EXPECT_EQ(m.struct_().fields().at("c").struct_value().fields().at("d").kind_case(),
            google::protobuf::Value::kBoolValue);
  EXPECT_EQ(m.value().list_value().values(0).number_value(), 1);
  EXPECT_EQ(m.list_value().values(1).struct_value().fields().at("b").string_value(), "c");
  EXPECT_EQ(m.values_by_name().at("n").kind_case(), google::protobuf::Value::kNullValue);
  EXPECT_EQ(Read("as_value: null").as_value().kind_case(), google::protobuf::Value::kNullValue);
  EXPECT_EQ(Read("value: null").value().kind_case(), google::protobuf::Value::kNullValue);
}

TEST(YamlReadTest, GoDurations) {
  const ReadOptions go{.durations = DurationStyle::kGo};
  EXPECT_EQ(Read("duration: 100ms", go).duration().nanos(), 100000000);
  EXPECT_EQ(Read("duration: 1h30m", go).duration().seconds(), 5400);
  EXPECT_EQ(Read("duration: 1.5h", go).duration().seconds(), 5400);
  EXPECT_EQ(Read("duration: -2m0.5s", go).duration().nanos(), -500000000);
  EXPECT_EQ(Read("duration: 0.25s", go).duration().nanos(), 250000000);
  EXPECT_EQ(Read("duration: 0", go).duration().seconds(), 0);
  EXPECT_EQ(Read("duration: 3us", go).duration().nanos(), 3000);
  EXPECT_EQ(Read("duration: 3µs", go).duration().nanos(), 3000);
}

TEST(YamlReadTest, Any) {
  const Everything m = Read(R"(
any:
  "@type": type.googleapis.com/weft.test.Everything
  an_int32: 5
  by_name: {b: x, a: z}
  any: {"@type": example.org/google.protobuf.Duration, value: 3s}
anys_by_name:
  wrapped: {value: 7, "@type": type.googleapis.com/google.protobuf.UInt32Value}
)");
  Everything inner;
  ASSERT_TRUE(m.any().UnpackTo(&inner));
  EXPECT_EQ(inner.an_int32(), 5);
  google::protobuf::Duration duration;
  ASSERT_TRUE(inner.any().UnpackTo(&duration));
  EXPECT_EQ(duration.seconds(), 3);
  EXPECT_EQ(inner.any().type_url(), "example.org/google.protobuf.Duration");
  google::protobuf::UInt32Value number;
  ASSERT_TRUE(m.anys_by_name().at("wrapped").UnpackTo(&number));
  EXPECT_EQ(number.value(), 7u);
}

TEST(YamlReadTest, AnyBytesDoNotDependOnTheOrderOfKeys) {
  const auto bytes = [](std::string_view map) {
    return Read(std::string("any: {'@type': type.googleapis.com/weft.test.Everything, by_name: ") + std::string(map) +
                "}")
        .any()
        .value();
  };
  EXPECT_EQ(bytes("{a: x, b: x, c: x, d: x, e: x}"), bytes("{e: x, d: x, c: x, b: x, a: x}"));
}

TEST(YamlReadTest, ReadsPartsAndClearsFirst) {
  std::vector<SourceError> errors;
  const Document d = ParseDocuments("spec: {an_int32: 5, child: {a_bool: true}}\nlist: [x]", "f.yaml", &errors)[0];
  Everything m;
  m.set_a_string("before");
  EXPECT_TRUE(d.ReadInto(&m, {}, &errors, "spec"));
  EXPECT_EQ(m.an_int32(), 5);
  EXPECT_EQ(m.a_string(), "");
  EXPECT_TRUE(d.ReadInto(&m, {}, &errors, "spec.child"));
  EXPECT_TRUE(m.a_bool());
  EXPECT_TRUE(d.ReadInto(&m, {}, &errors, "absent"));
  EXPECT_EQ(m.ByteSizeLong(), 0u);
  EXPECT_TRUE(errors.empty());
  EXPECT_FALSE(d.ReadInto(&m, {}, &errors, "list"));
  EXPECT_FALSE(d.ReadInto(&m, {}, &errors, "list.deeper"));
  EXPECT_EQ(ToString(errors),
            "f.yaml:2:7: list: expected a mapping, got a list\nf.yaml:2:7: list: expected a mapping, got a list\n");
}

TEST(YamlReadTest, AliasesRepeatTheirAnchor) {
  const Everything m = Read("child: &c\n  an_int32: 5\n  child: {a_bool: true}\nchildren: [*c, *c]\n"
                            "by_name: {&k key: v}\nwords: [&w word, *w, *k]\n");
  EXPECT_EQ(m.children_size(), 2);
  EXPECT_EQ(m.children(1).an_int32(), 5);
  EXPECT_TRUE(m.children(1).child().a_bool());
  EXPECT_EQ(m.words(1), "word");
  EXPECT_EQ(m.words(2), "key");
}

TEST(YamlReadTest, JsonForms) {
  const Everything m = Read("{\"a_string\":\"\\/\\u00e4\\ud83d\\ude00\\\\ud83d\",\"numbers\":[1,2e0],\r\n\t\"child\":{\"a_bool\":true}}");
  EXPECT_EQ(m.a_string(), "/ä😀\\ud83d");
  EXPECT_EQ(m.numbers(1), 2);
  EXPECT_TRUE(m.child().a_bool());
  EXPECT_EQ(Read("---\n{\"a_string\": \"\\uD83D\\uDE00\"}\n").a_string(), "😀");
}

// protobuf's own reader is the reference for JSON that it takes.
TEST(YamlReadTest, AgreesWithProtobufOnJson) {
  const std::string json = R"({
    "aBool": true, "anInt32": -5, "anInt64": "-9007199254740993", "aUint64": "18446744073709551615", "aFloat": 1.25,
    "aDouble": 1e100, "aString": "x\u0041\n", "someBytes": "aGVsbG8=", "color": "DARK_BLUE", "colors": [1, "NONE"],
    "child": {"children": [{}, {"words": ["a", ""]}]}, "byInt32": {"-5": "x"}, "byBool": {"true": 1},
    "byUint64": {"7": {"maybe": 0}}, "asText": "", "duration": "-0.000000001s", "timestamp": "1969-12-31T23:59:59.5Z",
    "struct": {"a": [null, 1, {"b": false}]}, "value": null, "listValue": [1, "2"], "boolValue": false,
    "int64Value": "5", "stringValue": "", "doubleValue": "Infinity", "uint32Value": 7, "nothing": null,
    "any": {"@type": "type.googleapis.com/google.protobuf.Value", "value": [1]}})";
  Everything expected;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, &expected).ok());
  const Everything got = Read(json);
  google::protobuf::util::MessageDifferencer differencer;
  std::string difference;
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(expected, got)) << difference;
}

TEST(YamlReadTest, MeshFile) {
  std::vector<SourceError> errors;
  weft::dev::v1::MeshFile mesh;
  const auto documents = ParseDocuments(R"(
name: bookinfo
configDirectory: bookinfo
workloads:
- name: reviews
  version: v1
  serviceAccount: reviews
  command: [./reviews, --port, "9080"]
  env: {STARS: "no"}
  ports: [{name: http, number: 9080, protocol: HTTP}]
- {name: ratings, replicas: 0}
restart: {firstDelay: 500ms}
)",
                                        "mesh.yaml", &errors);
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_TRUE(documents[0].ReadInto(&mesh, {.durations = DurationStyle::kGo}, &errors)) << ToString(errors);
  EXPECT_FALSE(mesh.workloads(0).has_replicas());
  EXPECT_TRUE(mesh.workloads(1).has_replicas());
  EXPECT_EQ(mesh.workloads(0).ports(0).number(), 9080u);
  EXPECT_EQ(mesh.restart().first_delay().nanos(), 500000000);
}

// --- documents

TEST(DocumentsTest, PlacesAndKeys) {
  std::vector<SourceError> errors;
  const auto documents = ParseDocuments(
      "# comment\n%YAML 1.1\n---\na: 1\nb: {c: x}\n---\n---\n# only a comment\n--- # the third\nd: [{e: 'null'}, f]\n"
      "...\n---\n  - g\n",
      "dir/f.yaml", &errors);
  ASSERT_TRUE(errors.empty()) << ToString(errors);
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_EQ(documents[0].file(), "dir/f.yaml");
  EXPECT_EQ(documents[0].line(), 4);
  EXPECT_EQ(documents[0].column(), 1);
  EXPECT_EQ(documents[0].Keys(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(documents[1].line(), 10);
  EXPECT_EQ(documents[1].ScalarAt("d[0].e"), "null");
  EXPECT_EQ(documents[1].ScalarAt("d[1]"), "f");
  EXPECT_EQ(documents[1].ScalarAt("d[2]"), std::nullopt);
  EXPECT_EQ(documents[2].line(), 13);
  EXPECT_EQ(documents[2].column(), 3);
  EXPECT_TRUE(documents[2].Keys().empty());
}

TEST(DocumentsTest, ScalarAt) {
  std::vector<SourceError> errors;
  const Document d = ParseDocuments("kind: VirtualService\nmetadata:\n  name: 'x'\n  labels: {a.b/c: 1}\n  gone: ~\n"
                                    "spec: {trafficPolicy: {tls: on}}\n",
                                    "f", &errors)[0];
  EXPECT_EQ(d.ScalarAt("kind"), "VirtualService");
  EXPECT_EQ(d.ScalarAt("metadata.name"), "x");
  EXPECT_EQ(d.ScalarAt("metadata.labels[\"a.b/c\"]"), "1");
  EXPECT_EQ(d.ScalarAt("metadata.gone"), std::nullopt);
  EXPECT_EQ(d.ScalarAt("metadata"), std::nullopt);
  EXPECT_EQ(d.ScalarAt("metadata.name.x"), std::nullopt);
  EXPECT_EQ(d.ScalarAt("spec.traffic_policy.tls"), "on");
  EXPECT_EQ(d.ScalarAt(""), std::nullopt);
  for (const char* malformed : {"a..b", ".a", "a.", "a[", "a[x]", "a[-1]", "a[\"x]"}) {
    EXPECT_EQ(d.ScalarAt(malformed), std::nullopt) << malformed;
  }
}

TEST(DocumentsTest, ErrorAtPointsAtTheNearestNode) {
  std::vector<SourceError> errors;
  const Document d = ParseDocuments("spec:\n  http:\n  - route:\n    - weight: 5\n    empty:\n", "f.yaml", &errors)[0];
  EXPECT_EQ(d.ErrorAt("spec.http[0].route[0].weight", "x").ToString(),
            "f.yaml:4:15: spec.http[0].route[0].weight: x");
  EXPECT_EQ(d.ErrorAt("spec.http[0].route", "x").ToString(), "f.yaml:3:5: spec.http[0].route: x");
  EXPECT_EQ(d.ErrorAt("spec.http[0].route[0].destination.host", "x").ToString(),
            "f.yaml:4:7: spec.http[0].route[0].destination.host: x");
  EXPECT_EQ(d.ErrorAt("spec.http[0].empty", "x").ToString(), "f.yaml:5:5: spec.http[0].empty: x");
  EXPECT_EQ(d.ErrorAt("status", "x").ToString(), "f.yaml:1:1: status: x");
  EXPECT_EQ(d.ErrorAt("", "x").ToString(), "f.yaml:1:1: x");
}

TEST(DocumentsTest, BadOnesDoNotTakeGoodOnesDown) {
  std::vector<SourceError> errors;
  const auto documents = ParseDocuments("a: 1\n---\nb: [\n---\nc: 3\n---\nd: *nope\n---\ne: 5\n", "f.yaml", &errors);
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_EQ(documents[2].Keys(), std::vector<std::string>{"e"});
  EXPECT_EQ(documents[2].line(), 9);
  ASSERT_EQ(errors.size(), 2u) << ToString(errors);
  EXPECT_EQ(errors[0].line, 4);
  EXPECT_EQ(errors[1].ToString(), "f.yaml:7:4: *nope refers to no earlier &nope");
}

TEST(DocumentsTest, DashesInsideBlockTextAreText) {
  std::vector<SourceError> errors;
  const auto documents = ParseDocuments("a: |\n  ---\n  x\nb: 1\n", "f", &errors);
  ASSERT_EQ(documents.size(), 1u) << ToString(errors);
  EXPECT_EQ(documents[0].ScalarAt("a"), "---\nx\n");
  EXPECT_EQ(documents[0].ScalarAt("b"), "1");
}

TEST(DocumentsTest, NothingInNothingOut) {
  for (const char* text : {"", "\n\n", "# only a comment\n", "---\n", "---\n...\n", "\xEF\xBB\xBF", "null", "~"}) {
    std::vector<SourceError> errors;
    EXPECT_TRUE(ParseDocuments(text, "f", &errors).empty()) << text;
    EXPECT_TRUE(errors.empty()) << ToString(errors);
  }
}

TEST(DocumentsTest, ByteOrderMarkAndLineEnds) {
  std::vector<SourceError> errors;
  const auto documents = ParseDocuments("\xEF\xBB\xBF" "a: 1\r\n---\r\nb: 2\r\n", "f", &errors);
  ASSERT_EQ(documents.size(), 2u) << ToString(errors);
  EXPECT_EQ(documents[1].ScalarAt("b"), "2");
  EXPECT_EQ(documents[1].line(), 3);
}

TEST(DocumentsTest, CopiesShare) {
  std::vector<SourceError> errors;
  auto documents = ParseDocuments("a_string: x", "f", &errors);
  const Document copy = documents[0];
  documents.clear();
  EXPECT_EQ(copy.ScalarAt("a_string"), "x");
  std::thread other([copy] {
    Everything m;
    std::vector<SourceError> none;
    EXPECT_TRUE(copy.ReadInto(&m, {}, &none));
  });
  Everything m;
  EXPECT_TRUE(copy.ReadInto(&m, {}, &errors));
  other.join();
}

// --- limits

std::string Repeat(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

std::string ErrorsOf(std::string_view text, const ParseLimits& limits, size_t documents = 0) {
  std::vector<SourceError> errors;
  EXPECT_EQ(ParseDocuments(text, "f", &errors, limits).size(), documents);
  return ToString(errors);
}

TEST(LimitsTest, Bytes) {
  EXPECT_EQ(ErrorsOf("a: 12", {.max_bytes = 4}), "f: too large: 5 bytes, at most 4 are read\n");
  EXPECT_EQ(ErrorsOf("a: 1", {.max_bytes = 4}, 1), "");
}

TEST(LimitsTest, Depth) {
  EXPECT_EQ(ErrorsOf(Repeat("[", 100) + Repeat("]", 100), {}, 1), "");
  EXPECT_EQ(ErrorsOf(Repeat("[", 101) + Repeat("]", 101), {}),
            "f:1:101: nested too deeply: at most 100 levels are read\n");
  EXPECT_EQ(ErrorsOf("a: {b: 1}", {.max_depth = 1}), "f:1:4: nested too deeply: at most 1 levels are read\n");
  // What an alias repeats counts where it is put.
  EXPECT_EQ(ErrorsOf("[&a [[x]], [[*a]]]", {.max_depth = 5}, 1), "");
  EXPECT_EQ(ErrorsOf("[&a [[x]], [[*a]]]", {.max_depth = 4}), "f:1:14: nested too deeply: at most 4 levels are read\n");
  // A good document after it is still read.
  EXPECT_EQ(ErrorsOf("{a: {b: 1}}\n---\nc: 1\n", {.max_depth = 1}, 1),
            "f:1:5: nested too deeply: at most 1 levels are read\n");
}

TEST(LimitsTest, AThousandBracketsAndMoreDoNotOverflowTheStack) {
  ErrorsOf(Repeat("[", 100000), {});
  ErrorsOf(Repeat("{a: ", 100000), {});
  ErrorsOf(Repeat("- ", 100000), {});
  ErrorsOf(Repeat("? ", 100000), {});
}

// What is read must be readable again once it was sent: protobuf's parsers stop at 100 levels.
TEST(LimitsTest, MessagesThatCannotBeSent) {
  const auto errors_of = [](std::string_view text) {
    std::vector<SourceError> errors;
    Everything m, received;
    for (const Document& document : ParseDocuments(text, "f", &errors)) {
      if (document.ReadInto(&m, {}, &errors)) {
        EXPECT_TRUE(received.ParseFromString(m.SerializeAsString()));
      }
    }
    return ToString(errors);
  };
  EXPECT_EQ(errors_of(Repeat("{child: ", 90) + "{}" + Repeat("}", 90)), "");
  EXPECT_NE(errors_of(Repeat("{child: ", 91) + "{}" + Repeat("}", 91)).find("nested too deeply: such a message"),
            std::string::npos);
  EXPECT_EQ(errors_of("struct: " + Repeat("{a: ", 29) + "x" + Repeat("}", 29)), "");
  EXPECT_NE(errors_of("struct: " + Repeat("{a: ", 40) + "x" + Repeat("}", 40)).find("nested too deeply"),
            std::string::npos);
  EXPECT_EQ(errors_of("list_value: " + Repeat("[", 40) + "x" + Repeat("]", 40)), "");
  EXPECT_NE(errors_of("list_value: " + Repeat("[", 50) + "x" + Repeat("]", 50)).find("nested too deeply"),
            std::string::npos);
}

TEST(LimitsTest, Nodes) {
  EXPECT_EQ(ErrorsOf("[1, 2, 3]", {.max_nodes = 4}, 1), "");
  EXPECT_EQ(ErrorsOf("[1, 2, 3]", {.max_nodes = 3}), "f:1:8: too many values: at most 3 are read\n");
  // For the whole text, not for each document.
  EXPECT_EQ(ErrorsOf("[1]\n---\n[1]\n---\n[2]\n", {.max_nodes = 4}, 2), "f:5:1: too many values: at most 4 are read\n");
}

TEST(LimitsTest, AliasesCannotExplode) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before + Repeat(", " + before, 8) + "]\n";
  }
  EXPECT_EQ(ErrorsOf(text, {}), "f:5:45: aliases repeat too much: at most 65536 values\n");
}

TEST(LimitsTest, ManyMistakesAreCutShort) {
  std::vector<SourceError> errors;
  ParseDocuments(Repeat("---\n[\n", 1000), "f", &errors);
  ASSERT_EQ(errors.size(), 101u);
  EXPECT_EQ(errors.back().ToString(), "f: too many mistakes; the rest was not read");
}

TEST(LimitsTest, LargeFilesAreReadInProportion) {
  std::string text = "words:\n" + Repeat("- a word of some length\n", 200000);
  std::vector<SourceError> errors;
  const auto documents = ParseDocuments(text, "f", &errors);
  ASSERT_EQ(documents.size(), 1u);
  Everything m;
  EXPECT_TRUE(documents[0].ReadInto(&m, {}, &errors));
  EXPECT_EQ(m.words_size(), 200000);
}

TEST(SourceErrorTest, Forms) {
  EXPECT_EQ((SourceError{"f", 1, 2, "a.b", "m"}).ToString(), "f:1:2: a.b: m");
  EXPECT_EQ((SourceError{"f", 0, 0, "", "m"}).ToString(), "f: m");
  EXPECT_EQ((SourceError{"f", 3, 0, "", "m"}).ToString(), "f:3: m");
  EXPECT_EQ((SourceError{"", 0, 0, "a", "m"}).ToString(), "a: m");
  EXPECT_EQ((SourceError{"", 0, 0, "", "m", true}).ToString(), "warning: m");
  EXPECT_FALSE(HasError({{"f", 1, 1, "", "m", true}}));
  EXPECT_TRUE(HasError({{"f", 1, 1, "", "m", true}, {"f", 1, 1, "", "m"}}));
}

}  // namespace
}  // namespace weft::api
