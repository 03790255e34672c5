#pragma once

#include <cstdint>

#include "dataplane/base/clock.h"

namespace weft::http::h2 {

// Limits of one connection in either role. Every one of them bounds memory or work that the peer
// can make us spend. Names and defaults of the abuse limits are those of
// envoy.config.core.v3.Http2ProtocolOptions.
struct SessionOptions {
  // Body bytes that may be on their way on one stream, and on all together, before the consumer
  // took some.
  uint32_t stream_window = 256 * 1024;
  uint32_t connection_window = 1024 * 1024;
  uint32_t max_concurrent_streams = 100;
  uint32_t header_table_size = 4096;
  uint32_t max_head_bytes = 60 * 1024;
  uint32_t max_headers = 100;
  // Output that waits for the kernel; above it no more frames are made.
  uint32_t max_buffered_output = 64 * 1024;
  // A PING when nothing was read for so long; 0: none. Without an answer in `keepalive_timeout` the
  // session ends.
  MonoNanos keepalive_interval = 0;
  MonoNanos keepalive_timeout = 20 * kSecond;
  // Percent of the interval that is added at random, so that the PINGs of many connections spread.
  uint32_t keepalive_jitter = 15;
  // Extended CONNECT (RFC 8441) is announced and taken.
  bool allow_connect = false;
  // An invalid message resets its stream only; else it ends the connection.
  bool stream_error_on_invalid_message = false;
  // Frames, and among them PING, SETTINGS and RST_STREAM frames, that wait to be sent.
  uint32_t max_outbound_frames = 10000;
  uint32_t max_outbound_control_frames = 1000;
  // DATA, HEADERS and CONTINUATION frames in a row that carry nothing and end nothing.
  uint32_t max_consecutive_empty_frames = 1;
  uint32_t max_priority_frames_per_stream = 100;
  uint32_t max_window_updates_per_data_frame_sent = 10;
};

// The server role's.
struct ServerOptions {
  SessionOptions session;
  MonoNanos idle_timeout = 3600 * kSecond;        // no stream open; 0: none
  MonoNanos head_timeout = 0;                     // first to last byte of a request head; 0: none
  MonoNanos stream_idle_timeout = 300 * kSecond;  // no byte moved either way; 0: none
  // From GOAWAY's notice to its last id when the peer does not answer the PING between them.
  MonoNanos drain_timeout = 5 * kSecond;
  // How long a peer may read what it was told last before the close.
  MonoNanos delayed_close_timeout = 1 * kSecond;
  uint32_t max_requests = 0;          // on one connection; 0: no limit
  uint32_t buffer_bytes = 64 * 1024;  // of a request body under way
};

}  // namespace weft::http::h2
