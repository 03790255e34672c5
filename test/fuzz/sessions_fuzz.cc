// What a discovery client may send: any requests, between changes of the state. The session must
// stay bounded, never send what is not asked for, and come to rest.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "controlplane/xds/proxy_session.h"
#include "controlplane/xds/wire.h"
#include "test/controlplane/xds/fake_provider.h"

using namespace weft::ctl::xds;

#define CHECK(x) \
  if (!(x)) abort()

namespace {

const std::string_view kUrls[] = {kClusterUrl, kEndpointUrl, kListenerUrl, kRouteUrl};

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
  bool empty() const { return rest_.empty(); }
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const uint8_t b = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    return b;
  }
  std::string Name() { return "n" + std::to_string(Byte() % 6); }
  std::string_view Take(size_t n) {
    const std::string_view out = rest_.substr(0, n);
    rest_.remove_prefix(out.size());
    return out;
  }

 private:
  std::string_view rest_;
};

template <typename Message>
std::optional<Request> Parse(std::string_view bytes) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
  return TakeRequest(message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace envoy::service::discovery::v3;
  Bytes in(data, size);
  const uint8_t mode = in.Byte();
  const Protocol protocol = mode & 1 ? Protocol::kStateOfTheWorld : Protocol::kDelta;
  FakeProvider provider((mode & 2) != 0);
  Counters counters;
  SessionOptions options;
  options.max_response_bytes = 200;
  ProxySession session(protocol, options, &counters);
  SteadyTime now = SteadyTime() + std::chrono::hours(1);
  session.OnState(provider.Current(), now);
  Response last;
  int steps = 0;
  while (!in.empty() && ++steps < 2000) {
    const uint8_t op = in.Byte();
    Request request;
    request.type_url = std::string(kUrls[(op >> 4) % 4]);
    bool send = false;
    switch (op % 8) {
      case 0: provider.Set(request.type_url, in.Name(), std::to_string(in.Byte())); break;
      case 1: provider.Remove(request.type_url, in.Name()); break;
      case 2: now += std::chrono::milliseconds(in.Byte() * 100); break;
      case 3:
        request.subscribe = {in.Name(), in.Byte() % 8 == 0 ? "*" : in.Name()};
        request.unsubscribe = {in.Name()};
        request.names = request.subscribe;
        request.nonce = last.nonce;
        send = true;
        break;
      case 4:
      case 5:
        request.type_url = last.type_url.empty() ? request.type_url : last.type_url;
        request.nonce = last.nonce;
        if (op % 8 == 5) request.nack = Nack{.code = 3, .message = "no", .refusals = {}};
        send = true;
        break;
      case 6: {
        const std::string_view bytes = in.Take(in.Byte());
        std::optional<Request> parsed = protocol == Protocol::kDelta
                                            ? Parse<DeltaDiscoveryRequest>(bytes)
                                            : Parse<DiscoveryRequest>(bytes);
        if (!parsed) break;
        request = *std::move(parsed);
        send = true;
        break;
      }
      case 7: break;
    }
    if (send && !session.OnRequest(request, now).ok()) return 0;  // the stream ends
    session.OnState(provider.Current(), now);
    auto next = session.Next(now);
    CHECK(next.ok());
    if (*next) {
      last = **next;
      CHECK(protocol == Protocol::kDelta || last.removed.empty());
      CHECK(!EncodeResponse(protocol, last).empty());
    }
    (void)session.Status(now);
    (void)session.Sent();
  }
  // A client that accepts everything comes to rest.
  for (int i = 0; i < 1000; ++i) {
    if (!last.nonce.empty()) {
      Request ack;
      ack.type_url = last.type_url;
      ack.nonce = last.nonce;
      if (protocol == Protocol::kStateOfTheWorld)
        break;  // an ACK repeats the names, which are not kept here
      CHECK(session.OnRequest(ack, now).ok());
    }
    auto next = session.Next(now);
    CHECK(next.ok());
    if (!*next && !session.deadline()) return 0;
    if (*next)
      last = **next;
    else
      now = std::max(now, *session.deadline());
    CHECK(i < 990);
  }
  return 0;
}
