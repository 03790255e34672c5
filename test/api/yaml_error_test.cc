// What a person sees for each kind of mistake: the exact line.
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "api/cpp/envoy_types.h"
#include "api/cpp/yaml.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "everything.pb.h"
#include "istio/networking/v1alpha3/destination_rule.pb.h"
#include "istio/networking/v1alpha3/virtual_service.pb.h"

namespace weft::api {
namespace {

struct ErrorCase {
  const char* name;
  const char* text;
  std::vector<std::string> errors;  // in order, each as ToString() gives it
};

void PrintTo(const ErrorCase& c, std::ostream* out) { *out << c.name; }

template <typename M>
std::vector<std::string> Read(const char* text, const ReadOptions& options, std::string_view key) {
  std::vector<SourceError> errors;
  const std::vector<Document> documents = ParseDocuments(text, "f.yaml", &errors);
  EXPECT_EQ(documents.size(), 1u) << ToString(errors);
  for (const Document& document : documents) {
    M message;
    const bool good = document.ReadInto(&message, options, &errors, key);
    EXPECT_EQ(good, !HasError(errors)) << ToString(errors);
  }
  std::vector<std::string> lines;
  for (const SourceError& error : errors) lines.push_back(error.ToString());
  return lines;
}

// --- one message with every kind of field

class EverythingErrorTest : public testing::TestWithParam<ErrorCase> {};

TEST_P(EverythingErrorTest, IsReportedExactly) {
  std::vector<SourceError> errors;
  const std::vector<Document> documents = ParseDocuments(GetParam().text, "f.yaml", &errors);
  ASSERT_EQ(documents.size(), 1u) << ToString(errors);
  weft::test::Everything message;
  EXPECT_FALSE(documents[0].ReadInto(&message, {}, &errors));
  std::vector<std::string> lines;
  for (const SourceError& error : errors) lines.push_back(error.ToString());
  EXPECT_EQ(lines, GetParam().errors);
}

INSTANTIATE_TEST_SUITE_P(
    Numbers, EverythingErrorTest,
    testing::Values(
        ErrorCase{"word", "an_int32: ten", {"f.yaml:1:11: an_int32: expected a number, got \"ten\""}},
        ErrorCase{"quoted_word", "an_int32: 'ten'", {"f.yaml:1:11: an_int32: expected a number, got \"ten\""}},
        ErrorCase{"boolean", "an_int32: yes", {"f.yaml:1:11: an_int32: expected a number, got yes"}},
        ErrorCase{"fraction", "an_int32: 1.5", {"f.yaml:1:11: an_int32: expected a whole number, got 1.5"}},
        ErrorCase{"nan", "an_int32: .nan", {"f.yaml:1:11: an_int32: expected a whole number, got .nan"}},
        ErrorCase{"too_large", "an_int32: 2147483648",
                  {"f.yaml:1:11: an_int32: expected a number from -2147483648 to 2147483647, got 2147483648"}},
        ErrorCase{"too_small", "an_int32: -2147483649",
                  {"f.yaml:1:11: an_int32: expected a number from -2147483648 to 2147483647, got -2147483649"}},
        ErrorCase{"negative_unsigned", "a_uint32: -1",
                  {"f.yaml:1:11: a_uint32: expected a number from 0 to 4294967295, got -1"}},
        ErrorCase{"quoted_too_large", "a_uint32: '4294967296'",
                  {"f.yaml:1:11: a_uint32: expected a number from 0 to 4294967295, got 4294967296"}},
        ErrorCase{"int64_too_large", "an_int64: 9223372036854775808",
                  {"f.yaml:1:11: an_int64: expected a number from -9223372036854775808 to 9223372036854775807, got "
                   "9223372036854775808"}},
        ErrorCase{"uint64_too_large", "a_uint64: 18446744073709551616",
                  {"f.yaml:1:11: a_uint64: expected a number from 0 to 18446744073709551615, got "
                   "18446744073709551616"}},
        ErrorCase{"octal", "an_int32: 0644",
                  {"f.yaml:1:11: an_int32: 0644 is octal to some readers and decimal to others; write 644, or 0o644"}},
        ErrorCase{"not_even_octal", "an_int32: 089",
                  {"f.yaml:1:11: an_int32: 089 is octal to some readers and decimal to others; write 89"}},
        ErrorCase{"underscore", "an_int32: 1_000",
                  {"f.yaml:1:11: an_int32: expected a number without underscores, got 1_000"}},
        ErrorCase{"empty_text", "an_int32: ''", {"f.yaml:1:11: an_int32: expected a number, got \"\""}},
        ErrorCase{"mapping", "an_int32: {a: 1}", {"f.yaml:1:11: an_int32: expected a number, got a mapping"}},
        ErrorCase{"list", "an_int32: [1]", {"f.yaml:1:11: an_int32: expected a number, got a list"}},
        ErrorCase{"double_word", "a_double: much", {"f.yaml:1:11: a_double: expected a number, got \"much\""}},
        ErrorCase{"double_octal", "a_double: 0123",
                  {"f.yaml:1:11: a_double: 0123 is octal to some readers and decimal to others; write 123, or 0o123"}},
        ErrorCase{"double_overflow", "a_double: 1e999",
                  {"f.yaml:1:11: a_double: the number 1e999 is too large for this field"}},
        ErrorCase{"float_overflow", "a_float: 1e39",
                  {"f.yaml:1:10: a_float: the number 1e39 is too large for this field"}},
        ErrorCase{"in_list", "numbers: [1, two, 3, 4.5]",
                  {"f.yaml:1:14: numbers[1]: expected a number, got \"two\"",
                   "f.yaml:1:22: numbers[3]: expected a whole number, got 4.5"}},
        ErrorCase{"wrapper", "uint32_value: -5",
                  {"f.yaml:1:15: uint32_value: expected a number from 0 to 4294967295, got -5"}},
        ErrorCase{"wrapper_mapping", "uint32_value: {value: 5}",
                  {"f.yaml:1:15: uint32_value: expected a number, got a mapping"}}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Scalars, EverythingErrorTest,
    testing::Values(
        ErrorCase{"string_from_no", "a_string: no",
                  {"f.yaml:1:11: a_string: expected a string, got the boolean no; quote it: \"no\""}},
        ErrorCase{"string_from_on", "a_string: On",
                  {"f.yaml:1:11: a_string: expected a string, got the boolean On; quote it: \"On\""}},
        ErrorCase{"string_from_y", "a_string: y",
                  {"f.yaml:1:11: a_string: expected a string, got the boolean y; quote it: \"y\""}},
        ErrorCase{"string_from_number", "a_string: 1.10",
                  {"f.yaml:1:11: a_string: expected a string, got the number 1.10; quote it: \"1.10\""}},
        ErrorCase{"string_from_octal", "a_string: 0644",
                  {"f.yaml:1:11: a_string: expected a string, got the number 0644; quote it: \"0644\""}},
        ErrorCase{"string_from_exponent", "a_string: 12e4567",
                  {"f.yaml:1:11: a_string: expected a string, got the number 12e4567; quote it: \"12e4567\""}},
        ErrorCase{"string_from_null_in_list", "words: [a, ~]",
                  {"f.yaml:1:12: words[1]: an entry of a list can't be null; remove it or give it a value"}},
        ErrorCase{"string_from_list", "a_string: [x]", {"f.yaml:1:11: a_string: expected a string, got a list"}},
        ErrorCase{"string_from_mapping", "a_string:\n  x: y",
                  {"f.yaml:2:3: a_string: expected a string, got a mapping"}},
        ErrorCase{"string_value", "string_value: 5",
                  {"f.yaml:1:15: string_value: expected a string, got the number 5; quote it: \"5\""}},
        ErrorCase{"bool_word", "a_bool: maybe", {"f.yaml:1:9: a_bool: expected true or false, got \"maybe\""}},
        ErrorCase{"bool_number", "a_bool: 1", {"f.yaml:1:9: a_bool: expected true or false, got 1"}},
        ErrorCase{"bool_quoted", "a_bool: 'true'",
                  {"f.yaml:1:9: a_bool: expected true or false, got \"true\"; remove the quotes"}},
        ErrorCase{"bool_case", "a_bool: tRUE", {"f.yaml:1:9: a_bool: expected true or false, got \"tRUE\""}},
        ErrorCase{"bytes", "some_bytes: 'a*b'", {"f.yaml:1:13: some_bytes: expected base64 text, got \"a*b\""}},
        ErrorCase{"bytes_one_symbol", "some_bytes: A", {"f.yaml:1:13: some_bytes: expected base64 text, got \"A\""}},
        ErrorCase{"bytes_left_over_bits", "some_bytes: 'QR=='",
                  {"f.yaml:1:13: some_bytes: expected base64 text, got \"QR==\""}},
        ErrorCase{"bytes_text_after_padding", "some_bytes: 'QQ==QQ=='",
                  {"f.yaml:1:13: some_bytes: expected base64 text, got \"QQ==QQ==\""}},
        ErrorCase{"enum_word", "color: GREN",
                  {"f.yaml:1:8: color: expected one of NONE, RED, GREEN, DARK_BLUE, NEGATIVE, got \"GREN\"; did you "
                   "mean GREEN?"}},
        ErrorCase{"enum_case", "color: dark-blue",
                  {"f.yaml:1:8: color: expected one of NONE, RED, GREEN, DARK_BLUE, NEGATIVE, got \"dark-blue\"; did "
                   "you mean DARK_BLUE?"}},
        ErrorCase{"enum_number", "color: 5",
                  {"f.yaml:1:8: color: expected one of NONE, RED, GREEN, DARK_BLUE, NEGATIVE, got 5"}},
        ErrorCase{"enum_list", "color: [RED]",
                  {"f.yaml:1:8: color: expected one of NONE, RED, GREEN, DARK_BLUE, NEGATIVE, got a list"}},
        ErrorCase{"enum_in_map", "colors_by_name: {a: RED, b: MAUVE}",
                  {"f.yaml:1:29: colors_by_name.b: expected one of NONE, RED, GREEN, DARK_BLUE, NEGATIVE, got "
                   "\"MAUVE\""}},
        ErrorCase{"duration_go", "duration: 100ms",
                  {"f.yaml:1:11: duration: expected a duration in seconds such as \"0.25s\", got \"100ms\"; write "
                   "0.100s"}},
        ErrorCase{"duration_number", "duration: 5",
                  {"f.yaml:1:11: duration: expected a duration in seconds such as \"0.25s\", got 5; add the unit: 5s"}},
        ErrorCase{"duration_word", "duration: soon",
                  {"f.yaml:1:11: duration: expected a duration in seconds such as \"0.25s\", got \"soon\""}},
        ErrorCase{"duration_too_long", "duration: 315576000001s",
                  {"f.yaml:1:11: duration: expected a duration in seconds such as \"0.25s\", got \"315576000001s\""}},
        ErrorCase{"duration_mapping", "duration: {seconds: 5}",
                  {"f.yaml:1:11: duration: expected a duration in seconds such as \"0.25s\", got a mapping"}},
        ErrorCase{"timestamp_date", "timestamp: 2024-05-01",
                  {"f.yaml:1:12: timestamp: expected a time such as \"2024-05-01T10:00:00Z\", got \"2024-05-01\""}},
        ErrorCase{"timestamp_day", "timestamp: 2023-02-29T00:00:00Z",
                  {"f.yaml:1:12: timestamp: expected a time such as \"2024-05-01T10:00:00Z\", got "
                   "\"2023-02-29T00:00:00Z\""}},
        ErrorCase{"long_text_is_cut", "an_int32: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                  {"f.yaml:1:11: an_int32: expected a number, got \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\""}},
        ErrorCase{"control_characters_are_escaped", "an_int32: \"a\\n\\x01\\u2028\"",
                  {"f.yaml:1:11: an_int32: expected a number, got \"a\\n\\u0001\\u2028\""}}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Structure, EverythingErrorTest,
    testing::Values(
        ErrorCase{"root_is_a_list", "- a", {"f.yaml:1:1: expected a mapping, got a list"}},
        ErrorCase{"root_is_a_word", "hello", {"f.yaml:1:1: expected a mapping, got \"hello\""}},
        ErrorCase{"child_is_a_word", "child: x", {"f.yaml:1:8: child: expected a mapping, got \"x\""}},
        ErrorCase{"child_is_a_list", "child:\n- a_bool: true",
                  {"f.yaml:2:1: child: expected a mapping, got a list"}},
        ErrorCase{"list_is_a_word", "words: x", {"f.yaml:1:8: words: expected a list, got \"x\"; write [\"x\"]"}},
        ErrorCase{"list_is_a_mapping", "children: {a_bool: true}",
                  {"f.yaml:1:11: children: expected a list, got a mapping; begin each entry with \"- \""}},
        ErrorCase{"list_entry_is_a_word", "children: [x]", {"f.yaml:1:12: children[0]: expected a mapping, got \"x\""}},
        ErrorCase{"list_entry_is_null", "children:\n- a_bool: true\n-\n",
                  {"f.yaml:3:2: children[1]: an entry of a list can't be null; remove it or give it a value"}},
        ErrorCase{"map_is_a_list", "by_name: [a]", {"f.yaml:1:10: by_name: expected a mapping, got a list"}},
        ErrorCase{"map_value_is_null", "by_name: {a: }",
                  {"f.yaml:1:14: by_name.a: a value of this map can't be null; write \"\" for an empty text"}},
        ErrorCase{"message_map_value_is_null", "by_uint64: {1: null}",
                  {"f.yaml:1:16: by_uint64.1: a value of this map can't be null; write {} for an empty one"}},
        ErrorCase{"number_map_value_is_null", "by_bool: {true: ~}",
                  {"f.yaml:1:17: by_bool.true: a value of this map can't be null; remove the key or give it a value"}},
        ErrorCase{"map_key_number", "by_int32: {x: a}", {"f.yaml:1:12: by_int32.x: expected a number, got \"x\""}},
        ErrorCase{"map_key_bool", "by_bool: {x: 1}",
                  {"f.yaml:1:11: by_bool.x: expected a key that is true or false, got \"x\""}},
        ErrorCase{"map_key_twice_as_numbers", "by_int32: {1: a, 0x1: b}",
                  {"f.yaml:1:18: by_int32.0x1: key \"0x1\" is there twice; first at line 1 as \"1\""}},
        ErrorCase{"map_key_twice_as_booleans", "by_bool: {true: 1, True: 2}",
                  {"f.yaml:1:20: by_bool.True: key \"True\" is there twice; first at line 1 as \"true\""}},
        ErrorCase{"map_key_needs_quotes_in_paths", "by_name:\n  app.kubernetes.io/name: 5",
                  {"f.yaml:2:27: by_name[\"app.kubernetes.io/name\"]: expected a string, got the number 5; quote it: "
                   "\"5\""}},
        ErrorCase{"map_key_twice", "by_name:\n  a: x\n  b: x\n  a: y",
                  {"f.yaml:4:3: by_name.a: key \"a\" is there twice; first at line 2"}},
        ErrorCase{"struct_key_twice", "struct: {a: {b: 1, b: 2}}",
                  {"f.yaml:1:20: struct.a.b: key \"b\" is there twice; first at line 1"}},
        ErrorCase{"field_twice", "child:\n  a_bool: true\n  a_bool: true",
                  {"f.yaml:3:3: child.a_bool: key \"a_bool\" is there twice; first at line 2"}},
        ErrorCase{"field_twice_in_two_spellings", "child:\n  a_bool: true\n  aBool: true",
                  {"f.yaml:3:3: child.aBool: key \"aBool\" is there twice; first at line 2 as \"a_bool\""}},
        ErrorCase{"unknown_field_twice", "child: {zzz: 1, zzz: 2}",
                  {"f.yaml:1:9: child: unknown field \"zzz\"", "f.yaml:1:17: child: key \"zzz\" is there twice; first "
                                                               "at line 1"}},
        ErrorCase{"unknown_field", "a_stirng: x", {"f.yaml:1:1: unknown field \"a_stirng\"; did you mean \"a_string\"?"}},
        ErrorCase{"unknown_field_camel_case", "child: {aStrin: x}",
                  {"f.yaml:1:9: child: unknown field \"aStrin\"; did you mean \"aString\"?"}},
        ErrorCase{"unknown_field_is_like_nothing", "xyzzy: x", {"f.yaml:1:1: unknown field \"xyzzy\""}},
        ErrorCase{"unknown_field_of_empty_message", "empty: {x: 1}",
                  {"f.yaml:1:9: empty: unknown field \"x\"; nothing can be set here"}},
        ErrorCase{"type_where_none_is", "child: {'@type': x}", {"f.yaml:1:9: child: unknown field \"@type\""}},
        ErrorCase{"oneof", "as_text: x\nas_number: 1",
                  {"f.yaml:2:1: as_number: conflicts with \"as_text\" at line 1; only one of as_text, as_number, "
                   "as_message, as_value may be set"}},
        ErrorCase{"oneof_camel_case", "asText: x\nasMessage: {}",
                  {"f.yaml:2:1: asMessage: conflicts with \"asText\" at line 1; only one of asText, asNumber, "
                   "asMessage, asValue may be set"}},
        ErrorCase{"value_not_finite", "value: .inf",
                  {"f.yaml:1:8: value: expected a finite number, got .inf; quote it if it is a text"}},
        ErrorCase{"value_octal", "struct: {mode: 0644}",
                  {"f.yaml:1:16: struct.mode: 0644 is octal to some readers and decimal to others; write 644, or "
                   "0o644"}},
        ErrorCase{"list_value", "list_value: {}", {"f.yaml:1:13: list_value: expected a list, got a mapping"}},
        ErrorCase{"struct_is_a_list", "struct: []", {"f.yaml:1:9: struct: expected a mapping, got a list"}},
        ErrorCase{"all_are_collected", "a_bool: 1\nan_int32: x\nchildren:\n- {color: x, typo: 1}\n- {numbers: [a]}",
                  {"f.yaml:1:9: a_bool: expected true or false, got 1",
                   "f.yaml:2:11: an_int32: expected a number, got \"x\"",
                   "f.yaml:4:11: children[0].color: expected one of NONE, RED, GREEN, DARK_BLUE, NEGATIVE, got \"x\"",
                   "f.yaml:4:14: children[0]: unknown field \"typo\"",
                   "f.yaml:5:14: children[1].numbers[0]: expected a number, got \"a\""}}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Anys, EverythingErrorTest,
    testing::Values(
        ErrorCase{"no_mapping", "any: x", {"f.yaml:1:6: any: expected a mapping with \"@type\", got \"x\""}},
        ErrorCase{"no_type", "any: {a_bool: true}",
                  {"f.yaml:1:6: any: \"@type\" is missing; it says which message this is, such as "
                   "\"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\""}},
        ErrorCase{"unknown_type", "any: {'@type': type.googleapis.com/envoy.No.Such}",
                  {"f.yaml:1:16: any.@type: unknown type \"type.googleapis.com/envoy.No.Such\"; this program has no "
                   "such message"}},
        ErrorCase{"no_slash", "any: {'@type': weft.test.Everything}",
                  {"f.yaml:1:16: any.@type: expected a type such as "
                   "\"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\", got "
                   "\"weft.test.Everything\""}},
        ErrorCase{"type_is_a_list", "any: {'@type': []}", {"f.yaml:1:16: any.@type: expected a string, got a list"}},
        ErrorCase{"inside", "any: {'@type': type.googleapis.com/weft.test.Everything, an_int32: x, typo: y}",
                  {"f.yaml:1:68: any.an_int32: expected a number, got \"x\"",
                   "f.yaml:1:71: any: unknown field \"typo\""}},
        ErrorCase{"well_known_without_value", "any: {'@type': type.googleapis.com/google.protobuf.Duration}",
                  {"f.yaml:1:6: any: \"value\" is missing; google.protobuf.Duration is written under it"}},
        ErrorCase{"well_known_inside", "any: {'@type': type.googleapis.com/google.protobuf.Duration, value: 5, x: 1}",
                  {"f.yaml:1:72: any: unknown field \"x\"; known here: value",
                   "f.yaml:1:69: any.value: expected a duration in seconds such as \"0.25s\", got 5; add the unit: "
                   "5s"}},
        ErrorCase{"type_twice",
                  "any: {'@type': type.googleapis.com/weft.test.Everything, '@type': "
                  "type.googleapis.com/weft.test.Everything}",
                  {"f.yaml:1:58: any: key \"@type\" is there twice; first at line 1"}}),
    [](const auto& info) { return info.param.name; });

// --- as people meet them

TEST(ResourceErrorTest, TheExampleOfTheManual) {
  EXPECT_EQ(Read<istio::networking::v1alpha3::VirtualService>(R"(apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews, subset: v1}
      weight: 50
    - destination: {host: reviews, subset: v2}
      weight: ten
    timout: 5s
)",
                                                              {.durations = DurationStyle::kGo}, "spec"),
            (std::vector<std::string>{
                "f.yaml:11:15: spec.http[0].route[1].weight: expected a number, got \"ten\"",
                "f.yaml:12:5: spec.http[0]: unknown field \"timout\"; did you mean \"timeout\"?"}));
}

TEST(ResourceErrorTest, GoDurations) {
  EXPECT_EQ(Read<istio::networking::v1alpha3::HTTPRetry>("{attempts: 3, perTryTimeout: 5, backoff: 1 hour}",
                                                         {.durations = DurationStyle::kGo}, ""),
            (std::vector<std::string>{"f.yaml:1:30: perTryTimeout: expected a duration such as \"100ms\", \"5s\" or "
                                      "\"1h30m\", got 5; add the unit: 5s",
                                      "f.yaml:1:42: backoff: expected a duration such as \"100ms\", \"5s\" or "
                                      "\"1h30m\", got \"1 hour\""}));
}

TEST(ResourceErrorTest, FewFieldsAreListed) {
  EXPECT_EQ(Read<istio::networking::v1alpha3::Destination>("{hots: a, namespace: x}",
                                                           {.durations = DurationStyle::kGo}, ""),
            (std::vector<std::string>{"f.yaml:1:2: unknown field \"hots\"; did you mean \"host\"?",
                                      "f.yaml:1:11: unknown field \"namespace\"; known here: host, subset, port"}));
}

TEST(ResourceErrorTest, UnknownFieldsAsWarnings) {
  EXPECT_EQ(Read<istio::networking::v1alpha3::Destination>(
                "{host: a, namespace: x}", {.unknown = UnknownFields::kWarn, .durations = DurationStyle::kGo}, ""),
            (std::vector<std::string>{
                "f.yaml:1:11: warning: unknown field \"namespace\"; known here: host, subset, port"}));
}

TEST(ResourceErrorTest, Bootstrap) {
  LinkEnvoyTypes();
  EXPECT_EQ(Read<envoy::config::bootstrap::v3::Bootstrap>(R"(
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: http}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec: AUTO
          route_config:
            virtual_hosts:
            - name: all
              domains: "*"
              routes:
              - match: {prefix: /, path: /}
                route: {cluster: c}
                redirect: {}
  clusters:
  - name: c
    type: STATC
    connect_timeout: 250ms
)",
                                                          {}, ""),
            (std::vector<std::string>{
                "f.yaml:5:64: static_resources.listeners[0].address.socket_address.port_value: expected a number, got "
                "\"http\"",
                "f.yaml:12:11: static_resources.listeners[0].filter_chains[0].filters[0].typed_config: unknown field "
                "\"codec\"; did you mean \"codec_type\"?",
                "f.yaml:16:24: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config."
                "virtual_hosts[0].domains: expected a list, got \"*\"; write [\"*\"]",
                "f.yaml:18:36: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config."
                "virtual_hosts[0].routes[0].match.path: conflicts with \"prefix\" at line 18; only one of prefix, "
                "path, safe_regex, connect_matcher, path_separated_prefix may be set",
                "f.yaml:20:17: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config."
                "virtual_hosts[0].routes[0].redirect: conflicts with \"route\" at line 19; only one of route, "
                "redirect, direct_response may be set",
                "f.yaml:23:11: static_resources.clusters[0].type: expected one of STATIC, STRICT_DNS, LOGICAL_DNS, "
                "EDS, ORIGINAL_DST, got \"STATC\"; did you mean STATIC?",
                "f.yaml:24:22: static_resources.clusters[0].connect_timeout: expected a duration in seconds such as "
                "\"0.25s\", got \"250ms\"; write 0.250s"}));
}

TEST(ResourceErrorTest, JsonGoesTheSameWay) {
  EXPECT_EQ(Read<istio::networking::v1alpha3::DestinationRule>(
                "{\n  \"spec\": {\n    \"host\": \"reviews\",\n    \"subsets\": [{\"name\": 1, \"labls\": {}}]\n  }\n}",
                {.durations = DurationStyle::kGo}, "spec"),
            (std::vector<std::string>{
                "f.yaml:4:26: spec.subsets[0].name: expected a string, got the number 1; quote it: \"1\"",
                "f.yaml:4:29: spec.subsets[0]: unknown field \"labls\"; did you mean \"labels\"?"}));
}

TEST(ResourceErrorTest, StopsAtAHundred) {
  std::string text = "numbers:\n";
  for (int i = 0; i < 500; ++i) text += "- x\n";
  const std::vector<std::string> errors = Read<weft::test::Everything>(text.c_str(), {}, "");
  ASSERT_EQ(errors.size(), 101u);
  EXPECT_EQ(errors[99], "f.yaml:101:3: numbers[99]: expected a number, got \"x\"");
  EXPECT_EQ(errors[100], "f.yaml:101: too many mistakes; the rest was not read");
}

// --- syntax: the document is left out

class SyntaxErrorTest : public testing::TestWithParam<ErrorCase> {};

TEST_P(SyntaxErrorTest, IsReportedExactly) {
  std::vector<SourceError> errors;
  EXPECT_TRUE(ParseDocuments(GetParam().text, "f.yaml", &errors).empty());
  std::vector<std::string> lines;
  for (const SourceError& error : errors) lines.push_back(error.ToString());
  EXPECT_EQ(lines, GetParam().errors);
}

INSTANTIATE_TEST_SUITE_P(
    All, SyntaxErrorTest,
    testing::Values(
        ErrorCase{"tab", "a:\n\tb: c", {"f.yaml:2:1: a tab can't indent; use spaces"}},
        ErrorCase{"at_sign", "a: @b", {"f.yaml:1:4: an unquoted value can't begin with '@'; put it in quotes"}},
        ErrorCase{"colon", "a: b: c",
                  {"f.yaml:1:5: a ':' is not expected here; indent like the line above, or quote a value that contains "
                   "\": \""}},
        ErrorCase{"indentation", "a:\n    b: 1\n  c: 2",
                  {"f.yaml:3:3: this does not go on the mapping that starts at line 1; check the indentation"}},
        ErrorCase{"list_indentation", "a:\n  - b\n  c: 2",
                  {"f.yaml:3:3: this does not go on the list that starts at line 2; check the indentation"}},
        ErrorCase{"no_colon", "a: 1\nb\nc: 2",
                  {"f.yaml:3:1: expected \"key: value\"; there is no ':' after the word at line 2"}},
        ErrorCase{"open_quote", "a: \"b\nc: d\n", {"f.yaml:3:1: the quote that opens at line 1 is not closed"}},
        ErrorCase{"open_bracket", "a: [b, c",
                  {"f.yaml:2:1: did not find expected ',' or ']' (while parsing a flow sequence that starts at line 1)"}},
        ErrorCase{"not_utf8", "a: x\nb: \"y\xFF\"", {"f.yaml:2:6: the text is not valid UTF-8 here"}},
        ErrorCase{"control_character", "a: \"x\x01\"",
                  {"f.yaml:1:6: a control character is not allowed here; inside double quotes write it as an escape, "
                   "such as \\u0000"}},
        ErrorCase{"utf16", "\xFF\xFE" "a", {"f.yaml: the text is UTF-16; save it as UTF-8"}},
        ErrorCase{"top_key_twice", "kind: A\nspec: {}\nkind: B",
                  {"f.yaml:3:1: key \"kind\" is there twice; first at line 1"}},
        ErrorCase{"merge_key", "a:\n  <<: {b: c}", {"f.yaml:2:3: merge keys (<<) are not supported; write the fields "
                                                   "out"}},
        ErrorCase{"complex_key", "? [a, b]\n: c", {"f.yaml:1:3: a key must be a word or a quoted text, not a mapping "
                                                  "or a list"}},
        ErrorCase{"tag", "a: !ruby/object x", {"f.yaml:1:4: the tag !ruby/object is not supported; remove it"}},
        ErrorCase{"binary_tag", "a: !!binary QQ==", {"f.yaml:1:4: the tag tag:yaml.org,2002:binary is not supported; "
                                                    "remove it"}},
        ErrorCase{"unknown_alias", "a: *x", {"f.yaml:1:4: *x refers to no earlier &x"}},
        ErrorCase{"alias_of_itself", "a: &x\n  b: *x", {"f.yaml:2:6: *x is inside &x itself"}},
        ErrorCase{"alias_across_documents", "--- &x\n---\na: *x", {"f.yaml:3:4: *x refers to no earlier &x"}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace weft::api
