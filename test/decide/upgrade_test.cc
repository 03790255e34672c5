#include "dataplane/decide/upgrade.h"

#include <gtest/gtest.h>

namespace weft::decide {
namespace {

UpgradeRules Rules(std::initializer_list<std::pair<const char*, bool>> entries) {
  std::vector<api::SourceError> found;
  Errors errors(&found);
  UpgradeRules rules;
  for (const auto& [type, enabled] : entries) rules.Add(type, enabled, "x", &errors);
  EXPECT_FALSE(errors.any());
  return rules;
}

TEST(UpgradeTest, TheRouteCountsBeforeTheManager) {
  const UpgradeRules none, websocket = Rules({{"WebSocket", true}}), off = Rules({{"websocket", false}});
  EXPECT_FALSE(UpgradeAllowed(none, nullptr, "websocket"));
  EXPECT_FALSE(UpgradeAllowed(none, &none, "websocket"));
  EXPECT_TRUE(UpgradeAllowed(websocket, nullptr, "websocket"));
  EXPECT_TRUE(UpgradeAllowed(websocket, &none, "WEBSOCKET"));
  EXPECT_FALSE(UpgradeAllowed(websocket, &off, "websocket"));
  EXPECT_TRUE(UpgradeAllowed(off, &websocket, "websocket"));
  EXPECT_FALSE(UpgradeAllowed(websocket, nullptr, "connect"));
}

TEST(UpgradeTest, TheFirstAllowedOneOfAnOffer) {
  const UpgradeRules rules = Rules({{"websocket", true}, {"foo/2", true}, {"connect", true}});
  EXPECT_EQ(ChooseUpgrade(rules, nullptr, "websocket"), "websocket");
  EXPECT_EQ(ChooseUpgrade(rules, nullptr, "bar , Foo/2,websocket"), "Foo/2");
  EXPECT_EQ(ChooseUpgrade(rules, nullptr, "h2c"), "");
  EXPECT_EQ(ChooseUpgrade(rules, nullptr, "h2c, websocket"), "websocket");
  EXPECT_EQ(ChooseUpgrade(rules, nullptr, "connect"), "") << "CONNECT is a method";
  EXPECT_EQ(ChooseUpgrade(rules, nullptr, " , ,"), "");
  EXPECT_TRUE(OffersOnlyH2c("h2c, H2C"));
  EXPECT_FALSE(OffersOnlyH2c("h2c, websocket"));
  EXPECT_FALSE(OffersOnlyH2c(""));
}

TEST(UpgradeTest, ErrorsNameTheField) {
  const std::pair<const char*, const char*> bad[] = {
      {"", "x.upgrade_type"}, {"h2c", "x.upgrade_type"}, {"a b", "x.upgrade_type"}};
  for (const auto& [type, path] : bad) {
    std::vector<api::SourceError> found;
    Errors errors(&found);
    UpgradeRules().Add(type, true, "x", &errors);
    ASSERT_EQ(found.size(), 1u) << type;
    EXPECT_EQ(found[0].path, path);
  }
  std::vector<api::SourceError> found;
  Errors errors(&found);
  UpgradeRules rules;
  rules.Add("websocket", true, "x[0]", &errors);
  rules.Add("WEBSOCKET", false, "x[1]", &errors);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].path, "x[1].upgrade_type");
}

}  // namespace
}  // namespace weft::decide
