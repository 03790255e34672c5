#include "api/cpp/scalar.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace weft::api {
namespace {

TEST(ResolvePlainTest, AsYaml11ReadersDo) {
  for (const char* text : {"", "~", "null", "Null", "NULL"}) EXPECT_EQ(ResolvePlain(text), Plain::kNull) << text;
  for (const char* text : {"y", "N", "yes", "No", "ON", "off", "true", "False"}) {
    EXPECT_EQ(ResolvePlain(text), Plain::kBool) << text;
  }
  for (const char* text : {"0", "-1", "+7", "007", "0x1f", "0o17", "0b1", "1_000", "99999999999999999999999"}) {
    EXPECT_EQ(ResolvePlain(text), Plain::kInt) << text;
  }
  for (const char* text : {"1.", ".5", "-1.5e3", "1e3", "1E-3", ".inf", "-.INF", "+.Inf", ".nan", "12e4567"}) {
    EXPECT_EQ(ResolvePlain(text), Plain::kFloat) << text;
  }
  for (const char* text : {"nULL", "yEs", "oN", "1.2.3", "1e", "e3", ".", "-", "+", "0x", "0xg", "_1", "1-2", "12:30",
                           "127.0.0.1", "v1", "..", "-.nan", "inf", "NaN", "0o8", "1s", "a"}) {
    EXPECT_EQ(ResolvePlain(text), Plain::kString) << text;
  }
}

TEST(ParseIntegerTest, Results) {
  Integer value;
  const auto parse = [&](const char* text) { return ParseInteger(text, &value); };
  EXPECT_EQ(parse("18446744073709551615"), IntegerResult::kOk);
  EXPECT_EQ(value.magnitude, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(parse("18446744073709551616"), IntegerResult::kTooLarge);
  EXPECT_EQ(parse("1e3"), IntegerResult::kOk);
  EXPECT_EQ(value.magnitude, 1000u);
  EXPECT_EQ(parse("9007199254740992.0"), IntegerResult::kOk);
  EXPECT_EQ(parse("9007199254740994.0"), IntegerResult::kTooLarge);
  EXPECT_EQ(parse("1e999"), IntegerResult::kTooLarge);
  EXPECT_EQ(parse("-5"), IntegerResult::kOk);
  EXPECT_TRUE(value.negative);
  EXPECT_EQ(parse("1.5"), IntegerResult::kNotWhole);
  EXPECT_EQ(parse(".inf"), IntegerResult::kNotWhole);
  EXPECT_EQ(parse("010"), IntegerResult::kAmbiguous);
  EXPECT_EQ(parse("0"), IntegerResult::kOk);
  EXPECT_EQ(parse("00"), IntegerResult::kAmbiguous);
  EXPECT_EQ(parse("1_0"), IntegerResult::kUnderscore);
  for (const char* text : {"", "-", "x", "1x", "0x", "--1", " 1", "1 ", "1e", "12:30"}) {
    EXPECT_EQ(parse(text), IntegerResult::kNotANumber) << text;
  }
}

TEST(DoubleTest, ReadsBackWhatItWrites) {
  for (double value : {0.0, -0.0, 1.0, 0.1, 1.0 / 3, 1e15, 1e16, 1e21, 1e22, 123456789.25, 5e-324, 1.7976931348623157e308,
                       -2.5, 100.0, 1e-7, 9007199254740993.0}) {
    const std::string text = FormatDouble(value);
    const auto read = ParseDouble(text);
    ASSERT_TRUE(read.has_value()) << text;
    EXPECT_EQ(*read, value) << text;
    EXPECT_EQ(std::signbit(*read), std::signbit(value)) << text;
  }
  EXPECT_EQ(FormatDouble(100), "100");
  EXPECT_EQ(FormatDouble(0.5), "0.5");
  EXPECT_EQ(FormatDouble(1e21), "1e+21");
  EXPECT_EQ(FormatFloat(0.1f), "0.1");
  EXPECT_EQ(FormatDouble(NAN), "NaN");
  EXPECT_EQ(FormatDouble(-INFINITY), "-Infinity");
  EXPECT_TRUE(std::isinf(*ParseDouble("0.1e999")));
  EXPECT_EQ(*ParseDouble("10000e-999"), 0);
  for (const char* text : {"", "x", "1x", "nan", "inf", "infinity", "010", "1_0", "1 ", "--1", "0x1p3"}) {
    EXPECT_FALSE(ParseDouble(text).has_value()) << text;
  }
}

TEST(DurationTest, Proto) {
  EXPECT_EQ(ParseProtoDuration("0s"), (SecondsAndNanos{0, 0}));
  EXPECT_EQ(ParseProtoDuration("1.000000001s"), (SecondsAndNanos{1, 1}));
  EXPECT_EQ(ParseProtoDuration("-0.5s"), (SecondsAndNanos{0, -500000000}));
  EXPECT_EQ(ParseProtoDuration("315576000000s"), (SecondsAndNanos{kMaxDurationSeconds, 0}));
  for (const char* text : {"", "s", "-s", "1", "1m", "1.s", ".5s", "1.0000000001s", "+1s", "1 s", "315576000001s",
                           "9999999999999s", "--1s", "1e3s"}) {
    EXPECT_EQ(ParseProtoDuration(text), std::nullopt) << text;
  }
}

TEST(DurationTest, Go) {
  EXPECT_EQ(ParseGoDuration("0"), (SecondsAndNanos{}));
  EXPECT_EQ(ParseGoDuration("1h30m"), (SecondsAndNanos{5400, 0}));
  EXPECT_EQ(ParseGoDuration("1h1m1s1ms1us1ns"), (SecondsAndNanos{3661, 1001001}));
  EXPECT_EQ(ParseGoDuration(".5s"), (SecondsAndNanos{0, 500000000}));
  EXPECT_EQ(ParseGoDuration("1.s"), (SecondsAndNanos{1, 0}));
  EXPECT_EQ(ParseGoDuration("-1.5s"), (SecondsAndNanos{-1, -500000000}));
  EXPECT_EQ(ParseGoDuration("+5s"), (SecondsAndNanos{5, 0}));
  EXPECT_EQ(ParseGoDuration("0.3333333333333333333h"), (SecondsAndNanos{1199, 999999999}));
  EXPECT_EQ(ParseGoDuration("1\xCE\xBCs"), (SecondsAndNanos{0, 1000}));
  for (const char* text : {"", "5", "s", "1x", "1 s", "1d", "1h-1m", ".s", "-", "99999999999h", "1hh", "1.2.3s"}) {
    EXPECT_EQ(ParseGoDuration(text), std::nullopt) << text;
  }
}

TEST(DurationTest, Format) {
  EXPECT_EQ(FormatDuration({0, 0}), "0s");
  EXPECT_EQ(FormatDuration({1, 500000000}), "1.500s");
  EXPECT_EQ(FormatDuration({0, -1000}), "-0.000001s");
  EXPECT_EQ(FormatDuration({-1, -1}), "-1.000000001s");
  EXPECT_EQ(FormatDuration({std::numeric_limits<int64_t>::min(), 0}), "-9223372036854775808s");
  EXPECT_EQ(FormatDuration({0, std::numeric_limits<int32_t>::min()}), "-0.999999999s");
}

TEST(TimestampTest, Both) {
  EXPECT_EQ(ParseTimestamp("1970-01-01T00:00:00Z"), (SecondsAndNanos{0, 0}));
  EXPECT_EQ(ParseTimestamp("2000-02-29T23:59:59.123456789Z"), (SecondsAndNanos{951868799, 123456789}));
  EXPECT_EQ(ParseTimestamp("1969-12-31T23:59:59.5Z"), (SecondsAndNanos{-1, 500000000}));
  EXPECT_EQ(ParseTimestamp("2024-01-01T00:30:00+01:00"), (SecondsAndNanos{1704065400, 0}));
  EXPECT_EQ(ParseTimestamp("2024-01-01t00:00:00z"), (SecondsAndNanos{1704067200, 0}));
  EXPECT_EQ(ParseTimestamp("0001-01-01T00:00:00Z"), (SecondsAndNanos{kFirstTimestamp, 0}));
  EXPECT_EQ(ParseTimestamp("9999-12-31T23:59:59Z"), (SecondsAndNanos{kLastTimestamp, 0}));
  for (const char* text :
       {"", "2024-05-01", "2024-05-01T10:00:00", "2024-05-01 10:00:00Z", "2024-13-01T00:00:00Z", "2023-02-29T00:00:00Z",
        "2024-05-01T24:00:00Z", "2024-05-01T10:60:00Z", "2024-05-01T10:00:60Z", "2024-05-01T10:00:00.Z",
        "2024-05-01T10:00:00+1:00", "2024-05-01T10:00:00+24:00", "2024-05-01T10:00:00Zx", "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "infinite-past", "2024-5-01T10:00:00Z"}) {
    EXPECT_EQ(ParseTimestamp(text), std::nullopt) << text;
  }
  for (const SecondsAndNanos value : {SecondsAndNanos{0, 0}, {-1, 1}, {951868799, 123000000}, {kFirstTimestamp, 0},
                                      {kLastTimestamp, 999999999}, {-62135596799, 5000}, {1714557600, 0}}) {
    EXPECT_EQ(ParseTimestamp(FormatTimestamp(value)), value) << FormatTimestamp(value);
  }
  EXPECT_EQ(FormatTimestamp({1714557600, 250000000}), "2024-05-01T10:00:00.250Z");
}

TEST(QuoteTest, EscapesWhatYamlAndJsonCannotCarry) {
  EXPECT_EQ(Quote("plain"), "\"plain\"");
  EXPECT_EQ(Quote("a\"b\\c\n\t\r"), "\"a\\\"b\\\\c\\n\\t\\r\"");
  EXPECT_EQ(Quote(std::string("\0\x1F\x7F", 3)), "\"\\u0000\\u001f\\u007f\"");
  EXPECT_EQ(Quote("\xC2\x85 \xE2\x80\xA8 \xEF\xBB\xBF \xEF\xBF\xBF"), "\"\\u0085 \\u2028 \\ufeff \\uffff\"");
  EXPECT_EQ(Quote("ä😀"), "\"ä😀\"");
  for (const char* bad : {"\xFF", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"}) {
    EXPECT_EQ(Quote(bad).find(bad), std::string::npos);
    EXPECT_NE(Quote(bad).find("\xEF\xBF\xBD"), std::string::npos);
  }
  EXPECT_EQ(QuoteShort("abcdef", 3), "\"abc...\"");
  EXPECT_EQ(QuoteShort("äöü", 3), "\"äöü\"");
}

}  // namespace
}  // namespace weft::api
