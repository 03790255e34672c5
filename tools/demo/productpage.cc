#include <chrono>

#include "tools/demo/page.h"
#include "tools/demo/service.h"

namespace weft::demo {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience(3000);
constexpr const char* kReviewsTrouble =
    "Sorry, product reviews are currently unavailable for this book.";
constexpr const char* kDetailsTrouble =
    "Sorry, product details are currently unavailable for this book.";
constexpr const char* kRatingsTrouble =
    "Sorry, product ratings are currently unavailable for this book.";

// What may stand in a header and in a cookie: visible ASCII. Anything else is dropped, so that a
// name can't smuggle a line.
std::string SafeName(const std::string& name) {
  std::string out;
  for (char c : name.substr(0, 64)) {
    if (c > ' ' && c < 127 && c != ';' && c != ',' && c != '"' && c != '\\') out += c;
  }
  return out;
}

// The user that signed in, by the cookie `user`; else the request's own `end-user` header, for
// people with curl.
std::string UserOf(const httplib::Request& request) {
  const std::string cookies = request.get_header_value("cookie");
  for (size_t at = 0; at < cookies.size();) {
    size_t end = cookies.find(';', at);
    if (end == std::string::npos) end = cookies.size();
    const size_t start = cookies.find_first_not_of(' ', at);
    if (start < end && cookies.compare(start, 5, "user=") == 0)
      return SafeName(cookies.substr(start + 5, end - start - 5));
    at = end + 1;
  }
  return SafeName(request.get_header_value("end-user"));
}

httplib::Headers HeadersFor(const httplib::Request& request) {
  httplib::Headers headers = PassOn(request);
  headers.erase("end-user");
  headers.erase("cookie");
  const std::string user = UserOf(request);
  if (!user.empty()) headers.emplace("end-user", user);
  return headers;
}

std::string TextOf(const rapidjson::Value& value) {
  if (value.IsString()) return value.GetString();
  if (value.IsInt()) return std::to_string(value.GetInt());
  return "";
}

class ProductPage {
 public:
  void AddTo(httplib::Server* server) {
    using Req = const httplib::Request&;
    using Res = httplib::Response&;
    const auto index = [](Req, Res response) {
      response.set_content(RenderIndex(), "text/html; charset=utf-8");
    };
    server->Get("/", index);
    server->Get("/index.html", index);
    server->Get("/productpage", [this](Req request, Res response) { Page(request, &response); });
    server->Post("/login", [](Req request, Res response) {
      const std::string user = SafeName(request.get_param_value("username"));
      if (!user.empty())
        response.set_header("Set-Cookie", "user=" + user + "; Path=/; HttpOnly; SameSite=Lax");
      response.set_redirect("/productpage");
    });
    server->Get("/logout", [](Req, Res response) {
      response.set_header("Set-Cookie", "user=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
      response.set_redirect("/productpage");
    });
    server->Get("/api/v1/products", [](Req, Res response) { Products(&response); });
    server->Get(R"(/api/v1/products/(\d{1,9}))", [this](Req request, Res response) {
      Relay(&details_, "/details/", request, 0, kDetailsTrouble, &response);
    });
    server->Get(R"(/api/v1/products/(\d{1,9})/reviews)", [this](Req request, Res response) {
      Relay(&reviews_, "/reviews/", request, 1, kReviewsTrouble, &response);
    });
    server->Get(R"(/api/v1/products/(\d{1,9})/ratings)", [this](Req request, Res response) {
      Relay(&ratings_, "/ratings/", request, 0, kRatingsTrouble, &response);
    });
  }

 private:
  static void Products(httplib::Response* response) {
    rapidjson::Document out(rapidjson::kArrayType);
    auto& memory = out.GetAllocator();
    for (const Book& book : Books()) {
      rapidjson::Value item(rapidjson::kObjectType);
      item.AddMember("id", book.id, memory);
      item.AddMember("title", rapidjson::StringRef(book.title), memory);
      item.AddMember("descriptionHtml", rapidjson::Value(Escape(book.blurb).c_str(), memory),
                     memory);
      out.PushBack(item, memory);
    }
    SendJson(response, out);
  }

  static void Relay(Peer* peer, const std::string& path, const httplib::Request& request,
                    int retries, const char* trouble, httplib::Response* response) {
    const std::string id = request.matches[1].str();
    if (FindBook(id) == nullptr) return SendError(response, 404, "no book has the id " + id);
    const Answer answer = peer->Get(path + id, HeadersFor(request), kPatience, retries);
    if (answer.status == 0) std::fprintf(stderr, "%s\n", answer.error.c_str());
    if (!answer.ok()) return SendError(response, answer.status == 0 ? 503 : answer.status, trouble);
    response->set_content(answer.body, "application/json");
  }

  void Page(const httplib::Request& request, httplib::Response* response) {
    PageModel model;
    model.book = FindBook(request.has_param("id") ? request.get_param_value("id") : "0");
    if (model.book == nullptr)
      return SendError(response, 404, "no such book; try /productpage?id=0");
    model.user = UserOf(request);
    const httplib::Headers headers = HeadersFor(request);
    const std::string id = std::to_string(model.book->id);
    ReadDetails(details_.Get("/details/" + id, headers, kPatience), &model);
    // One more try, since reviews is where the sample's examples put trouble.
    ReadReviews(reviews_.Get("/reviews/" + id, headers, kPatience, 1), &model);
    response->set_header("Cache-Control", "no-store");
    response->set_content(RenderProductPage(model), "text/html; charset=utf-8");
  }

  static void ReadDetails(const Answer& answer, PageModel* model) {
    rapidjson::Document in;
    if (answer.ok()) in.Parse(answer.body.c_str(), answer.body.size());
    if (!answer.ok() || in.HasParseError() || !in.IsObject()) {
      model->details_error = kDetailsTrouble;
      std::fprintf(stderr, "details: status %d %s\n", answer.status, answer.error.c_str());
      return;
    }
    static constexpr std::pair<const char*, const char*> kRows[] = {
        {"type", "Binding"},   {"pages", "Pages"},       {"publisher", "Publisher"},
        {"year", "Year"},      {"language", "Language"}, {"ISBN-10", "ISBN-10"},
        {"ISBN-13", "ISBN-13"}};
    for (const auto& [key, label] : kRows) {
      if (in.HasMember(key)) model->details.emplace_back(label, TextOf(in[key]));
    }
  }

  static void ReadReviews(const Answer& answer, PageModel* model) {
    rapidjson::Document in;
    if (answer.ok()) in.Parse(answer.body.c_str(), answer.body.size());
    if (!answer.ok() || in.HasParseError() || !in.IsObject() || !in.HasMember("reviews") ||
        !in["reviews"].IsArray()) {
      model->reviews_error = kReviewsTrouble;
      std::fprintf(stderr, "reviews: status %d %s\n", answer.status, answer.error.c_str());
      return;
    }
    if (in.HasMember("version")) model->reviews_version = TextOf(in["version"]);
    if (in.HasMember("podname")) model->reviews_pod = TextOf(in["podname"]);
    for (const auto& item : in["reviews"].GetArray()) {
      if (!item.IsObject()) continue;
      PageModel::Row row;
      if (item.HasMember("reviewer")) row.reviewer = TextOf(item["reviewer"]);
      if (item.HasMember("text")) row.text = TextOf(item["text"]);
      if (item.HasMember("rating") && item["rating"].IsObject()) {
        const auto& rating = item["rating"];
        if (rating.HasMember("stars") && rating["stars"].IsInt())
          row.stars = rating["stars"].GetInt();
        if (rating.HasMember("color")) row.color = TextOf(rating["color"]);
        if (rating.HasMember("error")) row.rating_error = TextOf(rating["error"]);
      }
      model->reviews.push_back(std::move(row));
    }
  }

  Peer details_{"details"}, reviews_{"reviews"}, ratings_{"ratings"};
};

}  // namespace

// productpage: the shop's face. Asks details and reviews, and shows what it got; a part that failed
// does not take the page.
int RunProductPage() {
  ProductPage page;
  return Serve("Product page", [&](httplib::Server* server) { page.AddTo(server); });
}

}  // namespace weft::demo
