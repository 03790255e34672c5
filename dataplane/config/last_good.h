#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/config/xds_client.h"

namespace weft::config {

// The last good dynamic resources on disk, so that a proxy can start while no controller answers.
// One file, replaced by renaming, checksummed: a torn or foreign file is recognised, never half-used.
struct LastGood {
  struct Type {
    std::string url;
    std::vector<XdsUpdate::Resource> resources;
  };
  std::string node_id;      // whose it is
  int64_t saved_micros = 0;  // wall time
  std::vector<Type> types;
};

inline constexpr size_t kMaxLastGoodBytes = 64u << 20;

// `dir`/last-good.xds
std::string LastGoodPath(const std::string& dir);

std::string EncodeLastGood(const LastGood& state);
// Empty when fine, else what is wrong with the bytes.
std::string DecodeLastGood(std::string_view bytes, LastGood* out);

// Makes `dir` (0700) when it is missing. Empty when fine, else the reason.
std::string WriteLastGood(const std::string& dir, const LastGood& state);
// Empty when fine; "" with no types and saved_micros 0 when there is no file.
std::string ReadLastGood(const std::string& dir, LastGood* out);

}  // namespace weft::config
