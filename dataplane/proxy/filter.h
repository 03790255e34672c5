#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace weft::proxy {

class Exchange;

// What a filter says to the engine after a hook.
enum class Verdict : uint8_t {
  kContinue,
  kPause,  // until the filter calls Exchange::Resume(), later or before the hook returns
  kDone,   // a local reply was recorded with Exchange::Reply(); the engine sends it after the hook
           // returned
  kReroute,  // back to the Route phase, at most 5 times; request hooks only
};

// One filter on one exchange. Request hooks run in the order of the configuration, response hooks
// in reverse. Owner: the Exchange. Thread: the worker's. Destroyed when: the exchange was recorded.
class Filter {
 public:
  virtual ~Filter() = default;
  virtual Verdict OnRequestHead(Exchange& exchange) { return Verdict::kContinue; }
  virtual Verdict OnResponseHead(Exchange& exchange) { return Verdict::kContinue; }
};

// A filter's configuration, compiled: immutable, shared by all workers. `config` makes it from the
// proto.
class FilterFactory {
 public:
  virtual ~FilterFactory() = default;
  // The name in the configuration; per-route configuration is found by it.
  virtual std::string_view name() const = 0;
  // Filters without state of their own may return null and act in the hooks below, which cost no
  // allocation.
  virtual std::unique_ptr<Filter> Create() const { return nullptr; }
  virtual Verdict OnRequestHead(Exchange& exchange) const { return Verdict::kContinue; }
  virtual Verdict OnResponseHead(Exchange& exchange) const { return Verdict::kContinue; }
};

}  // namespace weft::proxy
