// Which version of an object is in effect, and what is said about the others.
#include "controlplane/ingest/object_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "controlplane/ingest/read.h"
#include "istio/networking/v1alpha3/virtual_service.pb.h"
#include "test/controlplane/bookinfo.h"

namespace weft::ctl {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

const ObjectKey kRoutes{"VirtualService", "default", "reviews"};
const ObjectKey kRule{"DestinationRule", "default", "reviews"};
const ObjectKey kService{"ServiceEntry", "default", "reviews"};

class ObjectStoreTest : public ::testing::Test {
 protected:
  std::vector<SourceEvent> Puts(const std::string& file, const std::string& text, uint32_t directory = 0) {
    std::vector<SourceEvent> out;
    for (ReadObject& object : ReadObjects(text, file, {.directory = directory}).objects) {
      if (object.object != nullptr) {
        out.emplace_back(Put{object.object, object.errors});
      } else {
        out.emplace_back(Refused{*object.key, Origin{0, directory, file, object.line}, object.errors});
      }
    }
    return out;
  }
  std::vector<ObjectKey> Apply(std::vector<std::vector<SourceEvent>> batches) {
    std::vector<SourceEvent> events;
    for (auto& batch : batches) std::move(batch.begin(), batch.end(), std::back_inserter(events));
    return store_.Apply(std::move(events), ++revision_);
  }
  std::vector<SourceEvent> Gone(const ObjectKey& key, const std::string& file) {
    std::vector<SourceEvent> out;
    out.emplace_back(Remove{key, Origin{0, 0, file, 1}});
    return out;
  }
  void Bookinfo() {
    Apply({Puts("registry.yaml", testing::RegistryYaml()), Puts("rule.yaml", testing::ReviewsRuleYaml()),
           Puts("routes.yaml", testing::ReviewsRoutesYaml(50, 50))});
  }
  int WeightInEffect() {
    const ObjectPtr object = store_.InEffect(kRoutes);
    if (object == nullptr) return -1;
    return object->SpecAs<istio::networking::v1alpha3::VirtualService>().http(0).route(0).weight();
  }
  Condition Find(const ObjectKey& key, const std::string& type) {
    const auto status = store_.Status(key);
    for (const Condition& condition : status->conditions) {
      if (condition.type == type) return condition;
    }
    return {};
  }
  std::vector<std::string> Errors(const ObjectKey& key) {
    std::vector<std::string> out;
    if (const auto status = store_.Status(key)) {
      for (const api::SourceError& error : status->errors) out.push_back(error.ToString());
    }
    return out;
  }
  static std::string RuleWithout(const std::string& subset) {
    std::string text = testing::ReviewsRuleYaml();
    const size_t at = text.find("  - {name: " + subset);
    return text.erase(at, text.find('\n', at) + 1 - at);
  }
  static std::string RoutesTo(const std::string& destination, int weight) {
    return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec:\n  hosts: [reviews]\n"
           "  http: [{route: [{destination: " + destination + ", weight: " + std::to_string(weight) + "}]}]\n";
  }

  ObjectStore store_{"cluster.local"};
  uint64_t revision_ = 0;
};

TEST_F(ObjectStoreTest, GenerationsGrowWithContent) {
  Bookinfo();
  EXPECT_EQ(store_.InEffect(kRoutes)->generation, 1);
  EXPECT_EQ(store_.InEffect(kRoutes)->resource_version, 1u);
  EXPECT_THAT(Apply({Puts("routes.yaml", "# moved\n" + testing::ReviewsRoutesYaml(50, 50))}), IsEmpty());
  EXPECT_EQ(store_.InEffect(kRoutes)->generation, 1);
  EXPECT_EQ(store_.InEffect(kRoutes)->resource_version, 1u);
  EXPECT_EQ(store_.InEffect(kRoutes)->origin.line, 2) << "where it is written is up to date all the same";
  EXPECT_THAT(Apply({Puts("routes.yaml", testing::ReviewsRoutesYaml(10, 90))}), ElementsAre(kRoutes));
  EXPECT_EQ(store_.InEffect(kRoutes)->generation, 2);
  EXPECT_EQ(store_.InEffect(kRoutes)->resource_version, 3u);
}

TEST_F(ObjectStoreTest, ARefusedVersionKeepsTheLastGoodOne) {
  Bookinfo();
  Apply({Puts("routes.yaml", testing::ReviewsRoutesYaml(-5, 90))});
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_EQ(Find(kRoutes, kAccepted).reason, "Invalid");
  EXPECT_THAT(Find(kRoutes, kAccepted).message, HasSubstr("generation 1 stays in effect"));
  EXPECT_THAT(Errors(kRoutes), ElementsAre(HasSubstr("expected 0 or more, got -5")));
  EXPECT_FALSE(store_.Status(kRoutes)->current());
  Apply({Puts("routes.yaml", testing::ReviewsRoutesYaml(5, 95))});
  EXPECT_EQ(WeightInEffect(), 5);
  EXPECT_TRUE(Find(kRoutes, kAccepted).holds);
  EXPECT_THAT(Errors(kRoutes), IsEmpty());
}

TEST_F(ObjectStoreTest, WithoutAGoodVersionItIsNotUsed) {
  Apply({Puts("rule.yaml", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: reviews}\nspec: {host: A}\n")});
  EXPECT_EQ(store_.InEffect(kRule), nullptr);
  EXPECT_THAT(Find(kRule, kAccepted).message, HasSubstr("it is not used"));
  Apply({Gone(kRule, "rule.yaml")});
  EXPECT_FALSE(store_.Status(kRule).has_value());
}

TEST_F(ObjectStoreTest, AnUnknownHostIsRefusedWithTheNearest) {
  Bookinfo();
  Apply({Puts("routes.yaml", RoutesTo("{host: reviewz}", 1))});
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_EQ(Find(kRoutes, kAccepted).reason, "UnknownHost");
  EXPECT_THAT(Errors(kRoutes), ElementsAre(AllOf(HasSubstr("routes.yaml:6:40: spec.http[0].route[0].destination.host: "),
                                                 HasSubstr("did you mean \"reviews.default.svc.cluster.local\"?"))));
  // It is taken when the host appears.
  Apply({Puts("z.yaml", testing::ServiceYaml("reviewz"))});
  EXPECT_EQ(WeightInEffect(), 1);
  EXPECT_THAT(Errors(kRoutes), IsEmpty());
}

TEST_F(ObjectStoreTest, AnUnknownPortIsRefused) {
  Bookinfo();
  Apply({Puts("routes.yaml", RoutesTo("{host: reviews, port: {number: 80}}", 1))});
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_THAT(Errors(kRoutes), ElementsAre(HasSubstr("has no port 80; it has 9080, see ServiceEntry default/reviews (registry.yaml:")));
}

TEST_F(ObjectStoreTest, AMissingSubsetIsRefusedWithTheCandidates) {
  Bookinfo();
  Apply({Puts("routes.yaml", RoutesTo("{host: reviews, subset: v33}", 1))});
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_THAT(Errors(kRoutes), ElementsAre(AllOf(HasSubstr("subset \"v33\" is not defined"), HasSubstr("(rule.yaml:1) has v1, v2, v3"),
                                                 HasSubstr("did you mean \"v3\"?"))));
  Apply({Puts("routes.yaml", RoutesTo("{host: ratings, subset: v1}", 1))});
  EXPECT_THAT(Errors(kRoutes), ElementsAre(HasSubstr("no DestinationRule has the host \"ratings.default.svc.cluster.local\"")));
}

TEST_F(ObjectStoreTest, TheOrderWithinABatchDoesNotMatter) {
  Apply({Puts("routes.yaml", testing::ReviewsRoutesYaml(50, 50)), Puts("rule.yaml", testing::ReviewsRuleYaml()),
         Puts("registry.yaml", testing::RegistryYaml())});
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_THAT(Errors(kRoutes), IsEmpty());
}

TEST_F(ObjectStoreTest, ASubsetInUseStays) {
  Bookinfo();
  EXPECT_THAT(Apply({Puts("rule.yaml", RuleWithout("v3"))}), IsEmpty());
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_EQ(Find(kRule, kAccepted).reason, "StillInUse");
  EXPECT_THAT(Errors(kRule), ElementsAre(AllOf(HasSubstr("subset \"v3\" is still used by VirtualService default/reviews (routes.yaml:1)"),
                                               HasSubstr("rule.yaml:6:"))));
  EXPECT_TRUE(Find(kRoutes, kResolved).holds);
  // Once nobody uses it, the new rule is taken, without being written again.
  EXPECT_THAT(Apply({Puts("routes.yaml", RoutesTo("{host: reviews, subset: v1}", 7))}), UnorderedElementsAre(kRoutes, kRule));
  EXPECT_THAT(Errors(kRule), IsEmpty());
}

TEST_F(ObjectStoreTest, ASubsetThatIsNotUsedGoes) {
  Bookinfo();
  EXPECT_THAT(Apply({Puts("rule.yaml", RuleWithout("v2"))}), ElementsAre(kRule));
}

TEST_F(ObjectStoreTest, ADeletedRuleStaysWhileInUse) {
  Bookinfo();
  EXPECT_THAT(Apply({Gone(kRule, "rule.yaml")}), IsEmpty());
  EXPECT_NE(store_.InEffect(kRule), nullptr);
  EXPECT_EQ(Find(kRule, kAccepted).reason, "StillInUse");
  EXPECT_THAT(Errors(kRule), ElementsAre(HasSubstr("deleted, but subset")));
  EXPECT_THAT(Apply({Gone(kRoutes, "routes.yaml")}), UnorderedElementsAre(kRoutes, kRule));
  EXPECT_EQ(store_.InEffect(kRule), nullptr);
  EXPECT_THAT(store_.Statuses(), SizeIs(8)) << "the registry";
}

TEST_F(ObjectStoreTest, BothDeletedTogetherGo) {
  Bookinfo();
  EXPECT_THAT(Apply({Gone(kRule, "rule.yaml"), Gone(kRoutes, "routes.yaml")}), UnorderedElementsAre(kRoutes, kRule));
}

// New routes that need the new rule, and a new rule that lacks what the old routes need: only together they work.
TEST_F(ObjectStoreTest, AMoveFromOneSubsetToAnother) {
  Bookinfo();
  std::string rule = RuleWithout("v3") + "  - {name: v4, labels: {version: v3}}\n";
  EXPECT_THAT(Apply({Puts("rule.yaml", rule), Puts("routes.yaml", RoutesTo("{host: reviews, subset: v4}", 4))}),
              UnorderedElementsAre(kRoutes, kRule));
  EXPECT_EQ(WeightInEffect(), 4);
}

// The new routes are wrong, so the old ones stay, so the subset that they use stays, though the new rule drops it.
TEST_F(ObjectStoreTest, AFailedMoveKeepsBoth) {
  Bookinfo();
  EXPECT_THAT(Apply({Puts("rule.yaml", RuleWithout("v3")), Puts("routes.yaml", RoutesTo("{host: nobody}", 4))}), IsEmpty());
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_EQ(Find(kRule, kAccepted).reason, "StillInUse");
  EXPECT_EQ(Find(kRoutes, kAccepted).reason, "UnknownHost");
}

TEST_F(ObjectStoreTest, AServiceThatGoesTakesNothingWithIt) {
  Bookinfo();
  EXPECT_THAT(Apply({Gone(kService, "registry.yaml")}), ElementsAre(kService));
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_TRUE(Find(kRoutes, kAccepted).holds);
  EXPECT_EQ(Find(kRoutes, kResolved).reason, "UnknownHost");
  // Reading the same routes again is no new version that could be refused.
  Apply({Puts("routes.yaml", testing::ReviewsRoutesYaml(50, 50))});
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_TRUE(Find(kRoutes, kAccepted).holds);
}

TEST_F(ObjectStoreTest, DuplicatesTheFirstFileWins) {
  Bookinfo();
  const std::string other = testing::ReviewsRoutesYaml(1, 99);
  EXPECT_THAT(Apply({Puts("z.yaml", other)}), IsEmpty());
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_EQ(Find(kRoutes, kUnique).reason, "Conflict");
  EXPECT_THAT(Errors(kRoutes), ElementsAre(AllOf(HasSubstr("z.yaml:1: "), HasSubstr("warning"), HasSubstr("is at routes.yaml:1 and at z.yaml:1"))));
  EXPECT_THAT(Apply({Puts("a.yaml", other)}), ElementsAre(kRoutes));
  EXPECT_EQ(WeightInEffect(), 1);
  Apply({Gone(kRoutes, "a.yaml")});
  EXPECT_EQ(WeightInEffect(), 50);
  Apply({Gone(kRoutes, "routes.yaml")});
  EXPECT_EQ(WeightInEffect(), 1) << "the next one takes over";
  EXPECT_TRUE(Find(kRoutes, kUnique).holds);
}

TEST_F(ObjectStoreTest, AnEarlierDirectoryWins) {
  Apply({Puts("registry.yaml", testing::RegistryYaml()), Puts("rule.yaml", testing::ReviewsRuleYaml()),
         Puts("a.yaml", testing::ReviewsRoutesYaml(2, 98), 1), Puts("b.yaml", testing::ReviewsRoutesYaml(1, 99), 0)});
  EXPECT_EQ(WeightInEffect(), 1);
}

TEST_F(ObjectStoreTest, TwoRulesForAHost) {
  Bookinfo();
  std::string second = testing::ReviewsRuleYaml();
  second.replace(second.find("{name: reviews}"), 15, "{name: second, namespace: other}");
  second.replace(second.find("host: reviews"), 13, "host: reviews.default.svc.cluster.local");
  Apply({Puts("second.yaml", second)});
  const ObjectKey key{"DestinationRule", "other", "second"};
  EXPECT_EQ(Find(key, kUnique).reason, "Conflict");
  EXPECT_THAT(Find(key, kUnique).message, HasSubstr("is claimed by DestinationRule default/reviews (rule.yaml:1) and by DestinationRule other/second"));
  EXPECT_TRUE(Find(kRule, kUnique).holds);
}

TEST_F(ObjectStoreTest, CheckChangesNothing) {
  Bookinfo();
  auto objects = [](const std::string& text) {
    std::vector<ObjectPtr> out;
    for (const ReadObject& object : ReadObjects(text, "new.yaml").objects) out.push_back(object.object);
    return out;
  };
  EXPECT_THAT(store_.Check(objects(testing::ReviewsRoutesYaml(1, 2))), IsEmpty());
  EXPECT_THAT(store_.Check(objects(RoutesTo("{host: nobody}", 1))), SizeIs(1));
  EXPECT_THAT(store_.Check(objects(RuleWithout("v3"))), SizeIs(1));
  EXPECT_THAT(store_.Check(objects(RuleWithout("v2"))), IsEmpty());
  EXPECT_EQ(WeightInEffect(), 50);
  EXPECT_THAT(store_.Statuses(), SizeIs(10));
  EXPECT_THAT(Apply({Puts("routes.yaml", testing::ReviewsRoutesYaml(9, 91))}), ElementsAre(kRoutes));
}

TEST_F(ObjectStoreTest, ReportsOfSources) {
  std::vector<SourceEvent> events;
  events.emplace_back(Report{0, {{.file = "a.yaml", .message = "no"}}});
  store_.Apply(std::move(events), 1);
  EXPECT_THAT(store_.Reports(), SizeIs(1));
  std::vector<SourceEvent> better;
  better.emplace_back(Report{0, {}});
  store_.Apply(std::move(better), 2);
  EXPECT_THAT(store_.Reports(), IsEmpty());
}

// Whatever is written in whatever order: what is in effect never leads to a subset that does not exist, unless a
// service went away; and when everything is good in the end, the newest versions are in effect.
TEST_F(ObjectStoreTest, RandomChangesKeepTheInvariant) {
  std::mt19937 random(99);
  auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Bookinfo();
  for (int step = 0; step < 3000; ++step) {
    std::vector<std::vector<SourceEvent>> batches;
    for (int i = 1 + pick(3); i > 0; --i) {
      switch (pick(6)) {
        case 0: batches.push_back(Puts("routes.yaml", testing::ReviewsRoutesYaml(1 + pick(90), 5))); break;
        case 1: batches.push_back(Puts("routes.yaml", RoutesTo("{host: reviews, subset: v" + std::to_string(pick(5)) + "}", 1 + pick(9)))); break;
        case 2: batches.push_back(Puts("rule.yaml", RuleWithout("v" + std::to_string(1 + pick(3))))); break;
        case 3: batches.push_back(Puts("rule.yaml", testing::ReviewsRuleYaml())); break;
        case 4: batches.push_back(Gone(kRule, "rule.yaml")); break;
        case 5: batches.push_back(pick(2) == 0 ? Gone(kRoutes, "routes.yaml") : Puts("routes.yaml", RoutesTo("{host: nobody}", 1))); break;
      }
    }
    Apply(std::move(batches));
    if (store_.InEffect(kRoutes) != nullptr) {
      ASSERT_TRUE(Find(kRoutes, kResolved).holds) << "step " << step;
    }
  }
  Apply({Puts("rule.yaml", testing::ReviewsRuleYaml()), Puts("routes.yaml", testing::ReviewsRoutesYaml(77, 23))});
  EXPECT_EQ(WeightInEffect(), 77);
  EXPECT_TRUE(store_.Status(kRule)->current());
  EXPECT_TRUE(store_.Status(kRoutes)->current());
}

}  // namespace
}  // namespace weft::ctl
