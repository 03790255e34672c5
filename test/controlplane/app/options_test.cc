#include "controlplane/app/options.h"

#include <gtest/gtest.h>

namespace weft::ctl::app {
namespace {

struct Parsed {
  bool go_on = false;
  int exit_code = 0;
  std::string out, err;
  Options options;
};

Parsed Parse(std::vector<const char*> args) {
  args.insert(args.begin(), "weft-controller");
  Parsed parsed;
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  parsed.go_on =
      ParseOptions(static_cast<int>(args.size()), args.data(), &parsed.options, &parsed.exit_code);
  parsed.out = testing::internal::GetCapturedStdout();
  parsed.err = testing::internal::GetCapturedStderr();
  return parsed;
}

TEST(Options, RepeatedConfigAppends) {
  Parsed p = Parse({"--config", "a", "--config=b", "--config", "c"});
  ASSERT_TRUE(p.go_on) << p.err;
  EXPECT_EQ(p.options.directories, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(p.options.xds_address, "127.0.0.1:15010");
  EXPECT_EQ(p.options.admin_address, "127.0.0.1:15014");
  EXPECT_EQ(p.options.mgmt_socket, "");
}

TEST(Options, ConfigTakesOneValue) {
  Parsed p = Parse({"--config", "a", "b"});
  EXPECT_FALSE(p.go_on);
  EXPECT_NE(p.exit_code, 0);
}

TEST(Options, AllOfThem) {
  Parsed p =
      Parse({"--config", "a", "--xds-address", "127.0.0.1:1", "--admin-address", "127.0.0.1:2",
             "--mgmt-socket", "m/m.sock", "--trust-domain", "td", "--domain-suffix", "ds",
             "--max-proxies", "7", "--log-level", "debug", "--log-file", "l"});
  ASSERT_TRUE(p.go_on) << p.err;
  EXPECT_EQ(p.options.xds_address, "127.0.0.1:1");
  EXPECT_EQ(p.options.admin_address, "127.0.0.1:2");
  EXPECT_EQ(p.options.mgmt_socket, "m/m.sock");
  EXPECT_EQ(p.options.trust_domain, "td");
  EXPECT_EQ(p.options.domain_suffix, "ds");
  EXPECT_EQ(p.options.max_proxies, 7u);
  EXPECT_EQ(p.options.log_level, "debug");
  EXPECT_EQ(p.options.log_file, "l");
}

TEST(Options, HelpHasAnExample) {
  Parsed p = Parse({"--help"});
  EXPECT_FALSE(p.go_on);
  EXPECT_EQ(p.exit_code, 0);
  EXPECT_NE(p.out.find("Example:"), std::string::npos);
  EXPECT_NE(p.out.find("--mgmt-socket"), std::string::npos);
}

TEST(Options, Version) {
  Parsed p = Parse({"--version"});
  EXPECT_FALSE(p.go_on);
  EXPECT_EQ(p.exit_code, 0);
  EXPECT_EQ(p.out, std::string("weft-controller ") + kVersion + "\n");
}

TEST(Options, Mistakes) {
  const std::pair<std::vector<const char*>, const char*> cases[] = {
      {{}, "--config DIR is required"},
      {{"--config", "a", "--log-level", "loud"}, "\"loud\" is not one of"},
      {{"--config", "a", "--max-proxies", "0"}, "--max-proxies"},
      {{"--config", "a", "--xds-adress", "x"}, "--xds-adress"},
  };
  for (const auto& [args, text] : cases) {
    Parsed p = Parse(args);
    EXPECT_FALSE(p.go_on);
    EXPECT_EQ(p.exit_code, 2) << text;
    EXPECT_NE(p.err.find(text), std::string::npos) << p.err;
    EXPECT_NE(p.err.find("--help"), std::string::npos) << p.err;
  }
}

}  // namespace
}  // namespace weft::ctl::app
