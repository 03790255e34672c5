#include <chrono>

#include "tools/demo/books.h"
#include "tools/demo/service.h"

namespace weft::demo {
namespace {

using std::chrono::milliseconds;

// Version 1 shows no stars, version 2 black ones, version 3 red ones.
struct Look {
  bool stars;
  const char* color;
  milliseconds patience;  // How long to wait for ratings.
};

Look LookOf(const std::string& version) {
  // Version 2 waits longer than productpage waits for it. That is on purpose: a delay on ratings
  // shows that time-outs which nobody compared make a whole page suffer.
  if (version == "v2") return {true, "black", milliseconds(10000)};
  if (version == "v3") return {true, "red", milliseconds(2500)};
  return {false, "", milliseconds(0)};
}

}  // namespace

// reviews: what readers say. Versions 2 and 3 ask ratings for the stars.
int RunReviews() {
  const std::string version = Env("SERVICE_VERSION", "v1");
  const Look look = LookOf(version);
  const std::string pod = Env("POD_NAME", Env("HOSTNAME", "reviews-" + version));
  const std::string cluster = Env("CLUSTER_NAME", "local");
  Peer ratings("ratings");
  return Serve("Reviews", [&](httplib::Server* server) {
    server->Get(
        R"(/reviews/(\d{1,9}))", [&](const httplib::Request& request, httplib::Response& response) {
          const Book* book = FindBook(request.matches[1].str());
          if (book == nullptr)
            return SendError(&response, 404, "no book has the id " + request.matches[1].str());
          rapidjson::Document stars;
          if (look.stars) {
            const Answer answer =
                ratings.Get("/ratings/" + request.matches[1].str(), PassOn(request), look.patience);
            if (answer.ok()) stars.Parse(answer.body.c_str(), answer.body.size());
            if (!answer.error.empty())
              std::fprintf(stderr, "ratings did not answer: %s\n", answer.error.c_str());
          }
          const bool have_stars = !stars.HasParseError() && stars.IsObject() &&
                                  stars.HasMember("ratings") && stars["ratings"].IsObject();
          rapidjson::Document out(rapidjson::kObjectType);
          auto& memory = out.GetAllocator();
          out.AddMember("id", rapidjson::Value(std::to_string(book->id).c_str(), memory), memory);
          out.AddMember("podname", rapidjson::StringRef(pod.c_str()), memory);
          out.AddMember("clustername", rapidjson::StringRef(cluster.c_str()), memory);
          out.AddMember("version", rapidjson::StringRef(version.c_str()), memory);
          rapidjson::Value list(rapidjson::kArrayType);
          for (const Review& review : book->reviews) {
            rapidjson::Value item(rapidjson::kObjectType);
            item.AddMember("reviewer", rapidjson::StringRef(review.reviewer), memory);
            item.AddMember("text", rapidjson::StringRef(review.text), memory);
            if (look.stars) {
              rapidjson::Value rating(rapidjson::kObjectType);
              if (have_stars && stars["ratings"].HasMember(review.reviewer) &&
                  stars["ratings"][review.reviewer].IsInt()) {
                rating.AddMember("stars", stars["ratings"][review.reviewer].GetInt(), memory);
                rating.AddMember("color", rapidjson::StringRef(look.color), memory);
              } else {
                rating.AddMember("error", "Ratings are not to be had at the moment", memory);
              }
              item.AddMember("rating", rating, memory);
            }
            list.PushBack(item, memory);
          }
          out.AddMember("reviews", list, memory);
          SendJson(&response, out);
        });
    server->Get(R"(/reviews/.*)", [](const httplib::Request&, httplib::Response& response) {
      SendError(&response, 400, "please give the number of a book, as in /reviews/0");
    });
  });
}

}  // namespace weft::demo
