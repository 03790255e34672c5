#pragma once

#include <memory>
#include <string>

#include "dataplane/config/grpc_framing.h"

namespace weft::config {

// How the xDS client reaches a management server: one bidirectional stream of messages at a time. Tests have a fake.
// Owner: ConfigManager, longer than the XdsClient. Thread: the loop's.
class XdsTransport {
 public:
  enum class Method { kDelta, kStateOfTheWorld };

  class Handler {
   public:
    // The server can be written to.
    virtual void OnXdsReady() = 0;
    virtual void OnXdsMessage(std::string bytes) = 0;
    // Not connected, or not any more; the stream is dead.
    virtual void OnXdsClosed(const GrpcStatus& status) = 0;

   protected:
    ~Handler() = default;
  };

  // From inside one of its events it is destroyed by DeferDelete only.
  class Stream {
   public:
    virtual ~Stream() = default;
    // The handler hears nothing any more; nothing may be sent.
    virtual void Cancel() = 0;
    virtual void Send(std::string_view bytes) = 0;
  };

  virtual ~XdsTransport() = default;
  // Tries the next server, in turn. No event comes from inside the call.
  virtual std::unique_ptr<Stream> Open(Method method, Handler* handler) = 0;
  // How many servers take turns.
  virtual size_t servers() const = 0;
  // The one that Open tried last, for people.
  virtual std::string server() const = 0;
};

}  // namespace weft::config
