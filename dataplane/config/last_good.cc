#include "dataplane/config/last_good.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "dataplane/base/strings.h"
#include "envoy/service/discovery/v3/discovery.pb.h"

namespace weft::config {
namespace {

namespace ds = envoy::service::discovery::v3;

// magic | payload length | checksum of the payload | payload: length-delimited records. The first record is a
// DiscoveryRequest (node, and the time in version_info), then a DeltaDiscoveryResponse a type.
constexpr std::string_view kMagic = "weft-xds-state-1\n";
constexpr size_t kHead = kMagic.size() + 16;

// Any single damaged byte changes it, and so do cuts and swaps: FNV-1a over words of the payload, then mixed.
uint64_t Checksum(std::string_view s) {
  uint64_t h = 0xcbf29ce484222325u ^ s.size();
  for (unsigned char c : s) h = (h ^ c) * 0x100000001b3u;
  h ^= h >> 32;
  return h * 0x9e3779b97f4a7c15u;
}

void PutFixed(std::string* out, uint64_t v) {
  for (int i = 0; i < 8; ++i) out->push_back(static_cast<char>(v >> (8 * i)));
}
uint64_t GetFixed(std::string_view s) {
  uint64_t v = 0;
  for (int i = 0; i < 8; ++i) v |= static_cast<uint64_t>(static_cast<unsigned char>(s[static_cast<size_t>(i)])) << (8 * i);
  return v;
}

void PutRecord(std::string* out, const google::protobuf::Message& m) {
  std::string bytes = m.SerializeAsString();
  PutFixed(out, bytes.size());
  out->append(bytes);
}

bool TakeRecord(std::string_view* in, google::protobuf::Message* m) {
  if (in->size() < 8) return false;
  uint64_t n = GetFixed(*in);
  in->remove_prefix(8);
  if (n > in->size() || n > INT32_MAX) return false;
  bool ok = m->ParseFromArray(in->data(), static_cast<int>(n));
  in->remove_prefix(n);
  return ok;
}

std::string Why(std::string_view doing, const std::string& path) {
  return StrCat("cannot ", doing, " ", path, ": ", std::string_view(strerror(errno)));
}

}  // namespace

std::string LastGoodPath(const std::string& dir) { return dir + "/last-good.xds"; }

std::string EncodeLastGood(const LastGood& state) {
  std::string payload;
  ds::DiscoveryRequest about;
  about.mutable_node()->set_id(state.node_id);
  about.set_version_info(std::to_string(state.saved_micros));
  PutRecord(&payload, about);
  for (const LastGood::Type& t : state.types) {
    ds::DeltaDiscoveryResponse r;
    r.set_type_url(t.url);
    for (const XdsUpdate::Resource& x : t.resources) {
      ds::Resource* out = r.add_resources();
      out->set_name(x.name);
      out->set_version(x.version);
      out->mutable_resource()->set_type_url(t.url);
      out->mutable_resource()->set_value(x.value);
    }
    PutRecord(&payload, r);
  }
  std::string out(kMagic);
  PutFixed(&out, payload.size());
  PutFixed(&out, Checksum(payload));
  out += payload;
  return out;
}

std::string DecodeLastGood(std::string_view bytes, LastGood* out) {
  *out = LastGood();
  if (bytes.size() < kHead || !bytes.starts_with(kMagic)) return "is not a file of this program (or of another version of it)";
  uint64_t size = GetFixed(bytes.substr(kMagic.size()));
  uint64_t sum = GetFixed(bytes.substr(kMagic.size() + 8));
  std::string_view payload = bytes.substr(kHead);
  if (payload.size() != size) return StrCat("is cut: ", payload.size(), " of ", size, " bytes");
  if (Checksum(payload) != sum) return "is damaged: wrong checksum";
  ds::DiscoveryRequest about;
  if (!TakeRecord(&payload, &about)) return "is damaged: no head";
  LastGood state;
  state.node_id = about.node().id();
  const std::string& time = about.version_info();
  std::from_chars(time.data(), time.data() + time.size(), state.saved_micros);
  while (!payload.empty()) {
    ds::DeltaDiscoveryResponse r;
    if (!TakeRecord(&payload, &r)) return "is damaged: a record is no message";
    LastGood::Type& t = state.types.emplace_back();
    t.url = r.type_url();
    for (ds::Resource& x : *r.mutable_resources()) {
      t.resources.push_back({x.name(), x.version(), std::move(*x.mutable_resource()->mutable_value())});
    }
  }
  *out = std::move(state);
  return "";
}

std::string WriteLastGood(const std::string& dir, const LastGood& state) {
  std::string bytes = EncodeLastGood(state);
  if (bytes.size() > kMaxLastGoodBytes) {
    return StrCat("the configuration takes ", bytes.size(), " bytes on disk: the limit is ", kMaxLastGoodBytes);
  }
  if (mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return Why("make directory", dir);
  std::string path = LastGoodPath(dir), temporary = path + ".tmp";
  int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Why("write", temporary);
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  std::string error;
  if (done < bytes.size()) error = Why("write", temporary);
  // No fsync: it can take long on the thread that answers the controller. What a power cut leaves torn is found by the
  // checksum, and the controller has it all.
  if (close(fd) != 0 && error.empty()) error = Why("write", temporary);
  if (error.empty() && rename(temporary.c_str(), path.c_str()) != 0) error = Why("rename to", path);
  if (!error.empty()) unlink(temporary.c_str());
  return error;
}

std::string ReadLastGood(const std::string& dir, LastGood* out) {
  *out = LastGood();
  std::string path = LastGoodPath(dir);
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? "" : Why("read", path);
  std::string bytes;
  char buf[65536];
  ssize_t n;
  while ((n = read(fd, buf, sizeof(buf))) > 0 && bytes.size() <= kMaxLastGoodBytes) bytes.append(buf, static_cast<size_t>(n));
  std::string error;
  if (n < 0) error = Why("read", path);
  close(fd);
  if (!error.empty()) return error;
  if (bytes.size() > kMaxLastGoodBytes) return StrCat(path, " is larger than ", kMaxLastGoodBytes, " bytes");
  error = DecodeLastGood(bytes, out);
  return error.empty() ? "" : StrCat(path, " ", error);
}

}  // namespace weft::config
