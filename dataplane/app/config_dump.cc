#include "dataplane/app/config_dump.h"

#include "api/cpp/json.h"
#include "api/cpp/names.h"
#include "envoy/admin/v3/config_dump.pb.h"
#include "envoy/admin/v3/config_dump_shared.pb.h"

namespace weft::app {
namespace {

using config::ResourceView;
namespace admin = envoy::admin::v3;

google::protobuf::Any Wire(std::string_view type, std::string_view bytes) {
  google::protobuf::Any any;
  any.set_type_url(std::string(type));
  any.set_value(std::string(bytes));
  return any;
}

void SetTime(int64_t micros, google::protobuf::Timestamp* t) {
  t->set_seconds(micros / 1'000'000);
  t->set_nanos(static_cast<int32_t>(micros % 1'000'000) * 1000);
}

template <typename Resource>
void SetOutcome(const ResourceView& v, Resource* r) {
  r->set_client_status(v.refused_version.empty() ? admin::ACKED : admin::NACKED);
  if (v.refused_version.empty()) return;
  r->mutable_error_state()->set_details(std::string(v.refused_reason));
  r->mutable_error_state()->set_version_info(std::string(v.refused_version));
}

}  // namespace

std::string ConfigDumpJson(const config::ConfigManager& manager, const std::string& resource, const std::string& name,
                           bool include_eds) {
  admin::BootstrapConfigDump bootstrap;
  bootstrap.mutable_bootstrap()->ParseFromString(manager.bootstrap().wire);
  admin::ClustersConfigDump clusters;
  admin::ListenersConfigDump listeners;
  admin::RoutesConfigDump routes;
  admin::EndpointsConfigDump endpoints;
  auto wanted = [&](const ResourceView& v) { return name.empty() || v.name == name; };

  manager.ForEach(api::kClusterType, [&](const ResourceView& v) {
    if (!wanted(v)) return;
    if (v.is_static) {
      auto* s = clusters.add_static_clusters();
      *s->mutable_cluster() = Wire(api::kClusterType, v.wire);
      SetTime(v.updated_micros, s->mutable_last_updated());
      return;
    }
    if (!v.wire.empty() || !v.refused_version.empty()) {
      auto* d = clusters.add_dynamic_active_clusters();
      d->set_version_info(std::string(v.version));
      if (!v.wire.empty()) *d->mutable_cluster() = Wire(api::kClusterType, v.wire);
      SetTime(v.updated_micros, d->mutable_last_updated());
      SetOutcome(v, d);
    }
    if (!v.warming_wire.empty()) {
      auto* d = clusters.add_dynamic_warming_clusters();
      d->set_version_info(std::string(v.warming_version));
      *d->mutable_cluster() = Wire(api::kClusterType, v.warming_wire);
    }
  });
  manager.ForEach(api::kListenerType, [&](const ResourceView& v) {
    if (!wanted(v)) return;
    if (v.is_static) {
      auto* s = listeners.add_static_listeners();
      *s->mutable_listener() = Wire(api::kListenerType, v.wire);
      SetTime(v.updated_micros, s->mutable_last_updated());
      return;
    }
    auto* d = listeners.add_dynamic_listeners();
    d->set_name(std::string(v.name));
    if (!v.wire.empty()) {
      d->mutable_active_state()->set_version_info(std::string(v.version));
      *d->mutable_active_state()->mutable_listener() = Wire(api::kListenerType, v.wire);
      SetTime(v.updated_micros, d->mutable_active_state()->mutable_last_updated());
    }
    if (!v.warming_wire.empty()) {
      d->mutable_warming_state()->set_version_info(std::string(v.warming_version));
      *d->mutable_warming_state()->mutable_listener() = Wire(api::kListenerType, v.warming_wire);
    }
    SetOutcome(v, d);
  });
  manager.ForEach(api::kRouteType, [&](const ResourceView& v) {
    if (!wanted(v)) return;
    auto* d = routes.add_dynamic_route_configs();
    d->set_version_info(std::string(v.version));
    if (!v.wire.empty()) *d->mutable_route_config() = Wire(api::kRouteType, v.wire);
    SetTime(v.updated_micros, d->mutable_last_updated());
    SetOutcome(v, d);
  });
  manager.ForEach(api::kEndpointType, [&](const ResourceView& v) {
    if (!wanted(v)) return;
    auto* d = endpoints.add_dynamic_endpoint_configs();
    d->set_version_info(std::string(v.version));
    if (!v.wire.empty()) *d->mutable_endpoint_config() = Wire(api::kEndpointType, v.wire);
    SetTime(v.updated_micros, d->mutable_last_updated());
    SetOutcome(v, d);
  });

  admin::ConfigDump dump;
  if (resource.empty()) {
    if (name.empty()) dump.add_configs()->PackFrom(bootstrap);
    dump.add_configs()->PackFrom(clusters);
    if (include_eds) dump.add_configs()->PackFrom(endpoints);
    dump.add_configs()->PackFrom(listeners);
    dump.add_configs()->PackFrom(routes);
  } else {
    // One list: its elements themselves, as Envoy's `?resource=` gives them.
    for (google::protobuf::Message* m :
         std::initializer_list<google::protobuf::Message*>{&clusters, &listeners, &routes, &endpoints}) {
      const auto* field = m->GetDescriptor()->FindFieldByName(resource);
      if (field == nullptr || !field->is_repeated()) continue;
      for (int i = 0; i < m->GetReflection()->FieldSize(*m, field); ++i) {
        dump.add_configs()->PackFrom(m->GetReflection()->GetRepeatedMessage(*m, field, i));
      }
    }
    if (resource == "bootstrap") dump.add_configs()->PackFrom(bootstrap);
  }
  return api::MessageToJson(dump, {.proto_field_names = true}) + "\n";
}

}  // namespace weft::app
