#include "dataplane/config/compile_overload.h"

#include <gtest/gtest.h>

#include "api/cpp/envoy_types.h"
#include "api/cpp/yaml.h"

namespace weft::config {
namespace {

std::shared_ptr<const OverloadSpec> Compile(const std::string& yaml,
                                            std::vector<api::SourceError>* errors) {
  api::LinkEnvoyTypes();
  std::vector<api::SourceError> read;
  auto documents = api::ParseDocuments(yaml, "test", &read);
  envoy::config::overload::v3::OverloadManager m;
  EXPECT_TRUE(documents.size() == 1 && documents[0].ReadInto(&m, {}, &read));
  for (const auto& e : read) ADD_FAILURE() << e.ToString();
  decide::Errors own(errors);
  return CompileOverload(m, "overload_manager", CompileEnv{}, &own);
}

constexpr char kHeap[] = R"(
resource_monitors:
- name: heap
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig
    max_heap_size_bytes: 1000
)";

TEST(CompileOverload, EverythingThatIsKnown) {
  std::vector<api::SourceError> errors;
  auto spec = Compile(std::string(kHeap) + R"(
- name: cgroup
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig
- name: connections
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
    max_active_downstream_connections: 50
refresh_interval: 0.25s
actions:
- name: envoy.overload_actions.stop_accepting_requests
  triggers:
  - { name: heap, threshold: { value: 0.95 } }
  - { name: cgroup, scaled: { scaling_threshold: 0.8, saturation_threshold: 0.9 } }
- name: envoy.overload_actions.shrink_heap
  triggers: [{ name: heap, threshold: { value: 0.9 } }]
)",
                      &errors);
  ASSERT_TRUE(spec != nullptr) << Summary(errors);
  EXPECT_EQ(spec->refresh_interval, 250 * kMillisecond);
  ASSERT_EQ(spec->monitors.size(), 3u);
  EXPECT_EQ(spec->monitors[0].kind, ResourceKind::kHeap);
  EXPECT_EQ(spec->monitors[0].max, 1000u);
  EXPECT_EQ(spec->monitors[1].kind, ResourceKind::kCgroupMemory);
  EXPECT_EQ(spec->monitors[2].kind, ResourceKind::kDownstreamConnections);
  EXPECT_EQ(spec->max_downstream_connections, 50u);
  ASSERT_EQ(spec->actions.size(), 2u);
  EXPECT_EQ(spec->actions[0].action, OverloadAction::kStopAcceptingRequests);
  ASSERT_EQ(spec->actions[0].triggers.size(), 2u);
  EXPECT_EQ(spec->actions[0].triggers[1].monitor, 1u);
  EXPECT_EQ(spec->actions[0].triggers[1].from, 0.8);
  EXPECT_EQ(spec->actions[0].triggers[1].to, 0.9);
  EXPECT_EQ(spec->actions[1].action, OverloadAction::kShrinkHeap);
}

// Each with the field that it must name.
TEST(CompileOverload, WhatIsWrongIsNamed) {
  const std::string action = "actions: [{ name: envoy.overload_actions.shrink_heap, triggers: ";
  const struct {
    std::string yaml, where, what;
  } cases[] = {
      {std::string(kHeap) + "actions: [{ name: envoy.overload_actions.reduce_timeouts, triggers: "
                            "[{ name: heap, threshold: { value: 1 } }] }]",
       "overload_manager.actions[0].name", "not supported"},
      {std::string(kHeap) + action + "[{ name: haep, threshold: { value: 1 } }] }]",
       "overload_manager.actions[0].triggers[0].name", "no resource monitor \"haep\""},
      {std::string(kHeap) + action + "[{ name: heap, threshold: { value: 1.5 } }] }]",
       "overload_manager.actions[0].triggers[0].threshold.value", "at most 1"},
      {std::string(kHeap) + action + "[{ name: heap }] }]",
       "overload_manager.actions[0].triggers[0]", "threshold or scaled"},
      {std::string(kHeap) + action +
           "[{ name: heap, scaled: { scaling_threshold: 0.9, saturation_threshold: 0.8 } }] }]",
       "overload_manager.actions[0].triggers[0].scaled.saturation_threshold", "more than"},
      {std::string(kHeap) + action + "[] }]", "overload_manager.actions[0].triggers", "is empty"},
      {"resource_monitors: [{ name: x, typed_config: { \"@type\": "
       "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig } }]",
       "overload_manager.resource_monitors[0].typed_config.max_heap_size_bytes", "is missing"},
      {"resource_monitors: [{ name: x }]", "overload_manager.resource_monitors[0].typed_config",
       "not supported"},
      {"refresh_interval: 0s", "overload_manager.refresh_interval", ""},
      {"loadshed_points: [{ name: envoy.load_shed_points.tcp_listener_accept }]",
       "overload_manager.loadshed_points", "not supported"},
  };
  for (const auto& c : cases) {
    std::vector<api::SourceError> errors;
    EXPECT_EQ(Compile(c.yaml, &errors), nullptr) << c.yaml;
    bool found = false;
    for (const auto& e : errors) {
      found |= e.path == c.where && e.message.find(c.what) != std::string::npos;
    }
    EXPECT_TRUE(found) << c.yaml << "\n" << Summary(errors);
  }
}

TEST(CompileOverload, AConnectionLimitTriggersNothing) {
  std::vector<api::SourceError> errors;
  EXPECT_EQ(Compile(R"(
resource_monitors:
- name: connections
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
    max_active_downstream_connections: 50
actions:
- name: envoy.overload_actions.stop_accepting_requests
  triggers: [{ name: connections, threshold: { value: 0.9 } }]
)",
                    &errors),
            nullptr);
  EXPECT_NE(Summary(errors).find("limits connections by itself"), std::string::npos)
      << Summary(errors);
}

}  // namespace
}  // namespace weft::config
