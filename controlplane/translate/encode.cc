#include "controlplane/model/hash.h"
#include "controlplane/model/serialize.h"
#include "controlplane/translate/generators.h"

namespace weft::ctl {

ResourcePtr MakeResource(std::string name, std::string bytes) {
  auto resource = std::make_shared<Resource>();
  resource->name = std::move(name);
  resource->version = HexHash(StableHash(bytes));
  resource->value = std::move(bytes);
  return resource;
}

ResourcePtr MakeResource(std::string name, const google::protobuf::Message& message) {
  return MakeResource(std::move(name), DeterministicBytes(message));
}

void PackInto(const google::protobuf::Message& message, google::protobuf::Any* any) {
  any->set_type_url("type.googleapis.com/" + message.GetDescriptor()->full_name());
  any->set_value(DeterministicBytes(message));
}

google::protobuf::Duration ToDuration(std::chrono::milliseconds duration) {
  google::protobuf::Duration out;
  out.set_seconds(duration.count() / 1000);
  out.set_nanos(static_cast<int32_t>(duration.count() % 1000) * 1000000);
  return out;
}

}  // namespace weft::ctl
