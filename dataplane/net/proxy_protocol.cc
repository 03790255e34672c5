#include "dataplane/net/proxy_protocol.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "dataplane/base/strings.h"
#include "dataplane/event/loop.h"

namespace weft::net {
namespace {

constexpr std::string_view kSignature1 = "PROXY ";
constexpr std::string_view kSignature2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kMaxHeader1 = 107;  // with its CR LF

bool BeginsLike(std::string_view in, std::string_view signature) {
  const size_t n = std::min(in.size(), signature.size());
  return in.substr(0, n) == signature.substr(0, n);
}

std::string_view NextWord(std::string_view* rest) {
  size_t space = rest->find(' ');
  std::string_view word = rest->substr(0, space);
  rest->remove_prefix(space == std::string_view::npos ? rest->size() : space + 1);
  return word;
}

// Decimal, without a sign or zeros in front.
bool ParsePort(std::string_view text, uint32_t* out) {
  if (text.empty() || text.size() > 5 || (text[0] == '0' && text.size() > 1)) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && *out <= 65535;
}

ProxyHeaderResult Parse1(std::string_view in, ProxyHeader* out) {
  size_t end = in.substr(0, kMaxHeader1).find("\r\n");
  if (end == std::string_view::npos) {
    return in.size() >= kMaxHeader1 ? ProxyHeaderResult::kMalformed : ProxyHeaderResult::kMore;
  }
  out->version = 1;
  out->size = end + 2;
  std::string_view rest = in.substr(kSignature1.size(), end - kSignature1.size());
  std::string_view family = NextWord(&rest);
  if (family == "UNKNOWN") return ProxyHeaderResult::kDone;  // what follows is to be ignored
  if (family != "TCP4" && family != "TCP6") return ProxyHeaderResult::kMalformed;
  std::string_view source = NextWord(&rest), destination = NextWord(&rest);
  std::string_view source_port = NextWord(&rest);
  uint32_t from = 0, to = 0;
  // The last word is the rest: another space makes it no number.
  if (!ParsePort(source_port, &from) || !ParsePort(rest, &to)) return ProxyHeaderResult::kMalformed;
  auto s = Address::FromIp(source, from), d = Address::FromIp(destination, to);
  const bool v6 = family == "TCP6";
  if (!s || !d || s->is_v6() != v6 || d->is_v6() != v6) return ProxyHeaderResult::kMalformed;
  out->source = *s;
  out->destination = *d;
  out->has_addresses = true;
  return ProxyHeaderResult::kDone;
}

size_t Number16(std::string_view in, size_t at) {
  return static_cast<size_t>(static_cast<uint8_t>(in[at])) << 8 | static_cast<uint8_t>(in[at + 1]);
}

Address V4At(std::string_view in, size_t ip, size_t port) {
  sockaddr_in a = {};
  a.sin_family = AF_INET;
  memcpy(&a.sin_addr, in.data() + ip, 4);
  a.sin_port = htons(static_cast<uint16_t>(Number16(in, port)));
  return Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&a), sizeof(a));
}

Address V6At(std::string_view in, size_t ip, size_t port) {
  sockaddr_in6 a = {};
  a.sin6_family = AF_INET6;
  memcpy(&a.sin6_addr, in.data() + ip, 16);
  a.sin6_port = htons(static_cast<uint16_t>(Number16(in, port)));
  return Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&a), sizeof(a));
}

ProxyHeaderResult Parse2(std::string_view in, ProxyHeader* out) {
  constexpr size_t kFixed = 16;
  if (in.size() > 12) {
    const uint8_t command = static_cast<uint8_t>(in[12]);
    if (command != 0x20 && command != 0x21) return ProxyHeaderResult::kMalformed;
  }
  if (in.size() < kFixed) return ProxyHeaderResult::kMore;
  const bool local = in[12] == 0x20;
  const uint8_t family = static_cast<uint8_t>(in[13]);
  const size_t length = Number16(in, 14);
  size_t addresses = 0;
  if (!local) {
    switch (family) {
      case 0x00:  // unspecified
        break;
      case 0x11:
        addresses = 12;
        break;
      case 0x21:
        addresses = 36;
        break;
      case 0x31:  // Unix sockets: paths of the sender's host mean nothing here
        addresses = 216;
        break;
      default:  // datagrams, and what has no meaning
        return ProxyHeaderResult::kMalformed;
    }
    if (length < addresses) return ProxyHeaderResult::kMalformed;
  }
  if (in.size() < kFixed + length) return ProxyHeaderResult::kMore;
  std::string_view body = in.substr(kFixed, length);
  if (!local && family == 0x11) {
    out->source = V4At(body, 0, 8);
    out->destination = V4At(body, 4, 10);
    out->has_addresses = true;
  } else if (!local && family == 0x21) {
    out->source = V6At(body, 0, 32);
    out->destination = V6At(body, 16, 34);
    out->has_addresses = true;
  }
  if (!local && family != 0) {
    for (std::string_view rest = body.substr(addresses); !rest.empty();) {
      if (rest.size() < 3 || rest.size() - 3 < Number16(rest, 1)) {
        return ProxyHeaderResult::kMalformed;
      }
      rest.remove_prefix(3 + Number16(rest, 1));
    }
  }
  out->version = 2;
  out->size = kFixed + length;
  return ProxyHeaderResult::kDone;
}

}  // namespace

ProxyHeaderResult ParseProxyHeader(std::string_view in, ProxyHeader* out) {
  if (in.empty()) return ProxyHeaderResult::kMore;
  if (BeginsLike(in, kSignature1)) {
    return in.size() < kSignature1.size() ? ProxyHeaderResult::kMore : Parse1(in, out);
  }
  if (BeginsLike(in, kSignature2)) {
    return in.size() < kSignature2.size() ? ProxyHeaderResult::kMore : Parse2(in, out);
  }
  return ProxyHeaderResult::kNone;
}

std::string MakeProxyHeader(int version, const Address& source, const Address& destination) {
  const bool told = source.valid() && destination.valid() && !source.is_unix() &&
                    !destination.is_unix() && source.is_v6() == destination.is_v6();
  if (version == 1) {
    if (!told) return "PROXY UNKNOWN\r\n";
    return StrCat("PROXY TCP", source.is_v6() ? '6' : '4', ' ', source.Ip(), ' ', destination.Ip(),
                  ' ', source.port(), ' ', destination.port(), "\r\n");
  }
  std::string out(kSignature2);
  auto number = [&out](size_t n) {
    out.push_back(static_cast<char>(n >> 8));
    out.push_back(static_cast<char>(n));
  };
  out.push_back(told ? 0x21 : 0x20);
  out.push_back(!told ? 0 : source.is_v6() ? 0x21 : 0x11);
  if (!told) {
    number(0);
    return out;
  }
  number(source.is_v6() ? 36 : 12);
  for (const Address* a : {&source, &destination}) {
    if (a->is_v6()) {
      out.append(reinterpret_cast<const char*>(
                     &reinterpret_cast<const sockaddr_in6*>(a->sa())->sin6_addr),
                 16);
    } else {
      out.append(
          reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in*>(a->sa())->sin_addr),
          4);
    }
  }
  number(source.port());
  number(destination.port());
  return out;
}

// The header on its way to a connection that is new: the kernel takes it at once, but for a peer that
// is out of memory.
class ProxyProtocolSecurity::Writing final : public Handshake,
                                             private Transport::Handler,
                                             private Handshake::Handler,
                                             private event::TurnEndTask {
 public:
  Writing(event::Loop& loop, buffer::Slab& slab, std::unique_ptr<Transport> transport,
          std::string header, std::shared_ptr<const TransportSecurity> inner,
          const HandshakeOptions& options, Handshake::Handler* handler)
      : loop_(loop),
        slab_(slab),
        transport_(std::move(transport)),
        header_(std::move(header)),
        inner_(std::move(inner)),
        options_(options),
        sni_(options.sni),
        hostname_(options.hostname),
        handler_(handler) {
    options_.sni = sni_;
    options_.hostname = hostname_;
    for (std::string_view a : options.alpn) alpn_.emplace_back(a);
    for (size_t i = 0; i < alpn_.size(); ++i) options_.alpn[i] = alpn_[i];
    loop_.AtTurnEnd(this);
  }

 private:
  void RunAtTurnEnd() override { Write(); }
  void OnReadable() override { transport_->SetReading(false); }  // whoever comes next reads it
  void OnWritable() override { Write(); }

  void Write() {
    while (at_ < header_.size()) {
      iovec rest = {header_.data() + at_, header_.size() - at_};
      ssize_t n = transport_->Write(&rest, 1);
      if (n == -EAGAIN) {
        transport_->set_handler(this);
        transport_->WantWrite();
        watched_ = true;
        return;
      }
      if (n < 0) {
        transport_.reset();
        handler_->OnHandshakeFailed("the PROXY header could not be written");
        return;
      }
      at_ += static_cast<size_t>(n);
    }
    if (watched_) transport_->SetReading(true);
    if (inner_ == nullptr) {
      handler_->OnSecured(std::move(transport_));
      return;
    }
    next_ = inner_->Begin(loop_, slab_, std::move(transport_), options_, this);
  }

  void OnSecured(std::unique_ptr<Transport> transport) override {
    handler_->OnSecured(std::move(transport));
  }
  void OnHandshakeFailed(std::string_view detail) override { handler_->OnHandshakeFailed(detail); }

  event::Loop& loop_;
  buffer::Slab& slab_;
  std::unique_ptr<Transport> transport_;
  std::string header_;
  size_t at_ = 0;
  bool watched_ = false;
  const std::shared_ptr<const TransportSecurity> inner_;
  HandshakeOptions options_;
  const std::string sni_, hostname_;
  std::vector<std::string> alpn_;
  Handshake::Handler* const handler_;
  std::unique_ptr<Handshake> next_;
};

std::unique_ptr<Handshake> ProxyProtocolSecurity::Begin(event::Loop& loop, buffer::Slab& slab,
                                                        std::unique_ptr<Transport> transport,
                                                        const HandshakeOptions& options,
                                                        Handshake::Handler* handler) const {
  std::string header =
      options.proxied_for == nullptr
          ? MakeProxyHeader(version_, Address(), Address())
          : MakeProxyHeader(version_, options.proxied_for->source, options.proxied_for->destination);
  return std::make_unique<Writing>(loop, slab, std::move(transport), std::move(header), inner_,
                                   options, handler);
}

}  // namespace weft::net
