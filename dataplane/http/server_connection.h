#pragma once

#include <cstdint>
#include <memory>

#include "dataplane/base/clock.h"
#include "dataplane/base/intrusive_list.h"
#include "dataplane/buffer/slice.h"
#include "dataplane/http/message.h"
#include "dataplane/net/transport.h"

namespace weft::http {

struct ServerConnectionTag;

// One downstream HTTP connection of whichever version, as its listener sees it. h1:: and
// h2::ServerConnection are the two kinds. Owner: the listener's connection list; after OnClosed or
// OnHttp2Preface the owner frees it by Loop::DeferDelete. Thread: the worker's. Destroyed when: one
// of those two was called, which Close() does at once.
class ServerConnection : public ListLink<ServerConnectionTag> {
 public:
  class Owner {
   public:
    // The transport is closed; nothing more comes of this connection.
    virtual void OnClosed(ServerConnection& connection) = 0;
    // An HTTP/1 connection that was asked to look for it (h1::ServerOptions::detect_http2) has read
    // the HTTP/2 preface. It gives its transport away, together with all that it has read, preface
    // included; OnClosed does not follow.
    virtual void OnHttp2Preface(ServerConnection& connection,
                                std::unique_ptr<net::Transport> transport, buffer::Slice bytes) {}
    // The same connection turned out to speak HTTP/1.
    virtual void OnHttp1(ServerConnection& connection) {}

   protected:
    ~Owner() = default;
  };

  virtual ~ServerConnection() = default;

  // kHttp11 or kHttp2; the former also while an HTTP/1 connection looks for the preface.
  virtual Protocol protocol() const = 0;
  bool protocol_known() const { return protocol_known_; }
  // Takes no further request but one that may be on its way already: the next answer says that the
  // connection closes (HTTP/1), or GOAWAY goes out and the last stream id follows a round trip
  // later (HTTP/2). Requests under way finish.
  virtual void DrainSoon() = 0;
  // The same without waiting for what may be on its way: closes as soon as no request is under way.
  virtual void Drain() = 0;
  // Cuts off.
  virtual void Close() = 0;
  // No request is under way.
  virtual bool idle() const = 0;
  // Requests that were taken so far.
  virtual uint64_t requests() const = 0;
  // Bytes over the life of the connection.
  virtual uint64_t total_received() const = 0;
  virtual uint64_t total_sent() const = 0;

  // When it was made (loop time).
  MonoNanos created() const { return created_; }
  void set_connection_id(uint64_t id) { id_ = id; }
  uint64_t id() const { return id_; }

 protected:
  explicit ServerConnection(MonoNanos created) : created_(created) {}
  bool protocol_known_ = true;

 private:
  const MonoNanos created_;
  uint64_t id_ = 0;
};

}  // namespace weft::http
