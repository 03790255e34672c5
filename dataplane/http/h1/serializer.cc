#include "dataplane/http/h1/serializer.h"

#include <charconv>
#include <cstring>

namespace weft::http::h1 {
namespace {

// Collects a head in one block, so that it becomes one slice; a head beyond a block goes on in the
// next.
class Writer {
 public:
  Writer(buffer::Slab& slab, buffer::SliceBuffer& out)
      : slab_(slab), out_(out), block_(slab.Get()) {
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
    memcpy(at_, s.data(), s.size());
    at_ += s.size();
  }
  void Field(std::string_view name, std::string_view value) {
    Put(name);
    Put(": ");
    Put(value);
    Put("\r\n");
  }
  void Number(int64_t n) {
    char buf[24];
    Put({buf, static_cast<size_t>(std::to_chars(buf, buf + sizeof(buf), n).ptr - buf)});
  }
  void Length(int64_t n) {
    Put("content-length: ");
    Number(n);
    Put("\r\n");
  }

 private:
  void Emit() { out_.Append(buffer::Slice(block_, start_, static_cast<size_t>(at_ - start_))); }
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

BodyFraming WriteRequest(const RequestHead& head, buffer::Slab& slab, buffer::SliceBuffer& out) {
  Writer w(slab, out);
  w.Put(head.method);
  w.Put(" ");
  w.Put(head.path);
  w.Put(" HTTP/1.1\r\n");
  w.Field("host", head.authority);
  Fields(w, head.headers);
  BodyFraming framing = BodyFraming::kNone;
  if (head.has_body) {
    if (head.content_length >= 0) {
      w.Length(head.content_length);
      framing = BodyFraming::kLength;
    } else {
      w.Put("transfer-encoding: chunked\r\n");
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
  Writer w(slab, out);
  w.Put("HTTP/1.1 ");
  w.Number(head.status);
  w.Put(" ");
  w.Put(ReasonPhrase(head.status));
  w.Put("\r\n");
  Fields(w, head.headers);
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
      w.Put("transfer-encoding: chunked\r\n");
      framing = BodyFraming::kChunked;
    }
  } else if (head.length_without_body ||
             (options.to_head && head.has_body && head.content_length >= 0)) {
    w.Length(head.content_length);
  } else if (!bodiless && !options.to_head) {
    w.Length(0);
  }
  if (close) {
    w.Put("connection: close\r\n");
  } else if (options.peer == Protocol::kHttp10) {
    w.Put("connection: keep-alive\r\n");
  }
  w.Put("\r\n");
  return framing;
}

void WriteInformational(const ResponseHead& head, buffer::Slab& slab, buffer::SliceBuffer& out) {
  Writer w(slab, out);
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

void WriteLastChunk(const HeaderMap* trailers, buffer::Slab& slab, buffer::SliceBuffer& out) {
  if (trailers == nullptr || trailers->empty()) {
    out.Append(buffer::Slice::Static("0\r\n\r\n"));
    return;
  }
  Writer w(slab, out);
  w.Put("0\r\n");
  Fields(w, *trailers);
  w.Put("\r\n");
}

}  // namespace weft::http::h1
