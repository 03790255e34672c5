#include "dataplane/http/h1/serializer.h"

#include <charconv>
#include <cstring>

namespace weft::http::h1 {
namespace {

// Collects a head in one block, so that it becomes one slice; a head beyond a block goes on in the
// next.
class Writer {
 public:
  Writer(HeaderCase header_case, buffer::Slab& slab, buffer::SliceBuffer& out)
      : proper_(header_case == HeaderCase::kProper), slab_(slab), out_(out), block_(slab.Get()) {
    at_ = start_ = block_->data();
    end_ = at_ + block_->capacity();
  }
  ~Writer() { Emit(); }
  void Put(std::string_view s) {
    while (s.size() > static_cast<size_t>(end_ - at_)) {
      size_t n = static_cast<size_t>(end_ - at_);
      memcpy(at_, s.data(), n);
      at_ += n;
      s.remove_prefix(n);
      Emit();
      block_ = slab_.Get();
      at_ = start_ = block_->data();
      end_ = at_ + block_->capacity();
    }
    if (s.empty()) return;  // an empty view may point nowhere, which memcpy may not be given
    memcpy(at_, s.data(), s.size());
    at_ += s.size();
  }
  void Field(std::string_view name, std::string_view value) {
    Name(name);
    Put(value);
    Put("\r\n");
  }
  // With the colon behind it.
  void Name(std::string_view name) {
    if (proper_) {
      PutProper(name);
    } else {
      Put(name);
    }
    Put(": ");
  }
  void Number(int64_t n) {
    char buf[24];
    Put({buf, static_cast<size_t>(std::to_chars(buf, buf + sizeof(buf), n).ptr - buf)});
  }
  void Length(int64_t n) {
    Name("content-length");
    Number(n);
    Put("\r\n");
  }

 private:
  // The first letter, and each behind what is neither letter nor digit, in upper case; as Envoy.
  void PutProper(std::string_view name) {
    bool begins = true;
    for (char c : name) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      char out = begins && letter ? static_cast<char>(c & ~0x20) : c;
      Put({&out, 1});
      begins = !letter && (c < '0' || c > '9');
    }
  }
  void Emit() { out_.Append(buffer::Slice(block_, start_, static_cast<size_t>(at_ - start_))); }
  const bool proper_;
  buffer::Slab& slab_;
  buffer::SliceBuffer& out_;
  buffer::BlockRef block_;
  char *at_, *start_, *end_;
};

void Fields(Writer& w, const HeaderMap& headers) {
  for (const Header& h : headers) {
    switch (h.id) {
      case HeaderId::kContentLength:
      case HeaderId::kTransferEncoding:
      case HeaderId::kConnection:
      case HeaderId::kKeepAlive:
      case HeaderId::kProxyConnection:
      case HeaderId::kUpgrade:
        continue;
      default:
        w.Field(h.name, h.value);
    }
  }
}

// Methods whose body, even an empty one, is announced (RFC 9110 section 8.6).
bool AnnouncesEmptyBody(std::string_view method) {
  return method == "POST" || method == "PUT" || method == "PATCH";
}

}  // namespace

BodyFraming WriteRequest(const RequestHead& head, buffer::Slab& slab, buffer::SliceBuffer& out,
                         HeaderCase header_case) {
  Writer w(header_case, slab, out);
  w.Put(head.method);
  w.Put(" ");
  w.Put(head.is_connect() ? head.authority : head.path);
  w.Put(" HTTP/1.1\r\n");
  w.Field("host", head.authority);
  Fields(w, head.headers);
  BodyFraming framing = BodyFraming::kNone;
  if (!head.upgrade.empty()) {
    w.Field("connection", "upgrade");
    w.Field("upgrade", head.upgrade);
  }
  if (head.expect_continue) w.Field("expect", "100-continue");
  if (head.has_body) {
    if (head.content_length >= 0) {
      w.Length(head.content_length);
      framing = BodyFraming::kLength;
    } else {
      w.Field("transfer-encoding", "chunked");
      framing = BodyFraming::kChunked;
    }
  } else if (AnnouncesEmptyBody(head.method)) {
    w.Length(0);
  }
  w.Put("\r\n");
  return framing;
}

BodyFraming WriteResponse(const ResponseHead& head, const ResponseOptions& options,
                          buffer::Slab& slab, buffer::SliceBuffer& out) {
  Writer w(options.header_case, slab, out);
  w.Put("HTTP/1.1 ");
  w.Number(head.status);
  w.Put(" ");
  w.Put(ReasonPhrase(head.status));
  w.Put("\r\n");
  Fields(w, head.headers);
  if (head.tunnel) {
    if (!head.upgrade.empty()) {
      w.Field("connection", "upgrade");
      w.Field("upgrade", head.upgrade);
    }
    w.Put("\r\n");
    return BodyFraming::kUntilClose;
  }
  BodyFraming framing = BodyFraming::kNone;
  bool close = options.close;
  bool bodiless = head.status < 200 || head.status == 204 || head.status == 304;
  if (head.has_body && !options.to_head && !bodiless) {
    if (head.content_length >= 0) {
      w.Length(head.content_length);
      framing = BodyFraming::kLength;
    } else if (options.peer == Protocol::kHttp10) {
      framing = BodyFraming::kUntilClose;  // HTTP/1.0 knows no chunks
      close = true;
    } else {
      w.Field("transfer-encoding", "chunked");
      framing = BodyFraming::kChunked;
    }
  } else if (head.length_without_body ||
             (options.to_head && head.has_body && head.content_length >= 0)) {
    w.Length(head.content_length);
  } else if (!bodiless && !options.to_head) {
    w.Length(0);
  }
  if (close) {
    w.Field("connection", "close");
  } else if (options.peer == Protocol::kHttp10) {
    w.Field("connection", "keep-alive");
  }
  w.Put("\r\n");
  return framing;
}

void WriteInformational(const ResponseHead& head, buffer::Slab& slab, buffer::SliceBuffer& out,
                        HeaderCase header_case) {
  Writer w(header_case, slab, out);
  w.Put("HTTP/1.1 ");
  w.Number(head.status);
  w.Put(" ");
  w.Put(ReasonPhrase(head.status));
  w.Put("\r\n");
  Fields(w, head.headers);
  w.Put("\r\n");
}

void WriteChunk(buffer::SliceBuffer& data, buffer::Slab& slab, buffer::SliceBuffer& out) {
  if (data.empty()) return;
  char line[20];
  char* end = std::to_chars(line, line + 16, data.size(), 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  out.AppendCopy(slab, {line, static_cast<size_t>(end - line)});
  out.Splice(data);
  out.Append(buffer::Slice::Static("\r\n"));
}

void WriteLastChunk(const HeaderMap* trailers, buffer::Slab& slab, buffer::SliceBuffer& out,
                    HeaderCase header_case) {
  if (trailers == nullptr || trailers->empty()) {
    out.Append(buffer::Slice::Static("0\r\n\r\n"));
    return;
  }
  Writer w(header_case, slab, out);
  w.Put("0\r\n");
  Fields(w, *trailers);
  w.Put("\r\n");
}

}  // namespace weft::http::h1
