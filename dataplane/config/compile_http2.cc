#include "dataplane/config/compile_http2.h"

#include "dataplane/base/strings.h"

namespace weft::config {

namespace core = envoy::config::core::v3;

http::h2::SessionOptions CompileHttp2(const core::Http2ProtocolOptions& o, const std::string& path,
                                      const http::h2::SessionOptions& defaults,
                                      decide::Errors* errors) {
  http::h2::SessionOptions out = defaults;
  auto ranged = [&](const google::protobuf::UInt32Value& v, const char* field, uint32_t min,
                    uint32_t max) {
    if (v.value() < min || v.value() > max) {
      errors->Add(StrCat(path, ".", field), StrCat(v.value(), ": expected ", min, " to ", max));
    }
    return v.value();
  };
  constexpr uint32_t kMaxInt = 0x7fffffff;
  if (o.has_hpack_table_size()) out.header_table_size = o.hpack_table_size().value();
  if (o.has_max_concurrent_streams()) {
    out.max_concurrent_streams =
        ranged(o.max_concurrent_streams(), "max_concurrent_streams", 1, kMaxInt);
  }
  if (o.has_initial_stream_window_size()) {
    out.stream_window =
        ranged(o.initial_stream_window_size(), "initial_stream_window_size", 65535, kMaxInt);
  }
  if (o.has_initial_connection_window_size()) {
    out.connection_window = ranged(o.initial_connection_window_size(),
                                   "initial_connection_window_size", 65535, kMaxInt);
  }
  if (o.has_max_outbound_frames()) {
    out.max_outbound_frames = ranged(o.max_outbound_frames(), "max_outbound_frames", 1, kMaxInt);
  }
  if (o.has_max_outbound_control_frames()) {
    out.max_outbound_control_frames =
        ranged(o.max_outbound_control_frames(), "max_outbound_control_frames", 1, kMaxInt);
  }
  if (o.has_max_consecutive_inbound_frames_with_empty_payload()) {
    out.max_consecutive_empty_frames =
        o.max_consecutive_inbound_frames_with_empty_payload().value();
  }
  if (o.has_max_inbound_priority_frames_per_stream()) {
    out.max_priority_frames_per_stream = o.max_inbound_priority_frames_per_stream().value();
  }
  if (o.has_max_inbound_window_update_frames_per_data_frame_sent()) {
    out.max_window_updates_per_data_frame_sent =
        ranged(o.max_inbound_window_update_frames_per_data_frame_sent(),
               "max_inbound_window_update_frames_per_data_frame_sent", 1, kMaxInt);
  }
  out.allow_connect = o.allow_connect();
  out.stream_error_on_invalid_message =
      o.has_override_stream_error_on_invalid_http_message()
          ? o.override_stream_error_on_invalid_http_message().value()
          : o.stream_error_on_invalid_http_messaging();
  RefuseIf(o.allow_metadata(), path + ".allow_metadata", "not supported", errors);
  RefuseIf(o.has_max_metadata_size(), path + ".max_metadata_size", "not supported", errors);
  RefuseIf(o.use_oghttp2_codec().value(), path + ".use_oghttp2_codec", "not supported", errors);
  RefuseIf(o.custom_settings_parameters_size() > 0, path + ".custom_settings_parameters",
           "not supported", errors);
  if (o.has_connection_keepalive()) {
    const std::string at = path + ".connection_keepalive";
    const core::KeepaliveSettings& k = o.connection_keepalive();
    if (k.has_interval()) {
      out.keepalive_interval = CompileDuration(k.interval(), at + ".interval", true, errors);
    }
    if (k.has_timeout()) {
      out.keepalive_timeout = CompileDuration(k.timeout(), at + ".timeout", true, errors);
    } else {
      errors->Add(at + ".timeout", "is missing");
    }
    if (k.has_interval_jitter()) {
      double percent = k.interval_jitter().value();
      if (!(percent >= 0 && percent <= 100)) {
        errors->Add(at + ".interval_jitter.value", StrCat(percent, ": expected 0 to 100"));
      } else {
        out.keepalive_jitter = static_cast<uint32_t>(percent);
      }
    }
    RefuseIf(k.has_connection_idle_interval(), at + ".connection_idle_interval",
             "not supported: use interval", errors);
  }
  return out;
}

}  // namespace weft::config
