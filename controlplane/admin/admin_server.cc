#include "controlplane/admin/admin_server.h"

#include <future>
#include <utility>

#include "dataplane/base/strings.h"
#include "dataplane/event/loop.h"
#include "dataplane/http/simple_server.h"
#include "dataplane/net/address.h"

namespace weft::ctl::admin {

class AdminServer::Impl {
 public:
  explicit Impl(const AdminHandlers* handlers) : handlers_(handlers) {}

  ~Impl() {
    if (!thread_.joinable()) return;
    loop_.Post([this] {
      server_.reset();
      loop_.Stop();
    });
    thread_.join();
  }

  // The error, or empty and the bound address.
  std::string Start(const net::Address& address, std::string* bound) {
    std::promise<std::string> done;
    thread_ = std::thread([this] { loop_.Run(); });
    loop_.Post([&] {
      server_ = std::make_unique<http::SimpleServer>(
          loop_,
          [this](const http::SimpleRequest& request, const http::SimpleServer::Respond& respond) {
            AdminResponse answer = handlers_->Handle({request.method, request.path, request.query});
            http::SimpleResponse response;
            response.status = answer.status;
            response.content_type = std::move(answer.content_type);
            response.body = std::move(answer.body);
            respond(std::move(response));
          });
      std::string error;
      if (server_->Listen(address, &error)) {
        *bound = server_->address().ToString();
        error.clear();
      } else if (error.empty()) {
        error = "unknown error";
      }
      done.set_value(error);
    });
    return done.get_future().get();
  }

 private:
  const AdminHandlers* const handlers_;
  event::Loop loop_;
  std::unique_ptr<http::SimpleServer> server_;
  std::thread thread_;
};

AdminServer::AdminServer(const AdminHandlers* handlers) : handlers_(handlers) {}
AdminServer::~AdminServer() { Stop(); }

absl::Status AdminServer::Start(const std::string& address) {
  const auto parsed = net::Address::Parse(address);
  if (!parsed) {
    return absl::InvalidArgumentError(
        StrCat("--admin-address: \"", address, "\" is not IP:PORT, such as 127.0.0.1:15014"));
  }
  impl_ = std::make_unique<Impl>(handlers_);
  const std::string error = impl_->Start(*parsed, &address_);
  if (error.empty()) return absl::OkStatus();
  impl_.reset();
  return absl::UnavailableError(StrCat("can't listen on ", address, " (--admin-address): ", error));
}

void AdminServer::Stop() { impl_.reset(); }

}  // namespace weft::ctl::admin
