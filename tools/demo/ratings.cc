#include <cstdlib>
#include <map>

#include "tools/demo/books.h"
#include "tools/demo/service.h"

namespace weft::demo {
namespace {

using Stars = std::map<std::string, int>;  // Reviewer to number of stars.

void Send(httplib::Response* response, int id, const Stars& stars) {
  rapidjson::Document out(rapidjson::kObjectType);
  auto& memory = out.GetAllocator();
  rapidjson::Value ratings(rapidjson::kObjectType);
  for (const auto& [reviewer, count] : stars)
    ratings.AddMember(rapidjson::Value(reviewer.c_str(), memory), rapidjson::Value(count), memory);
  out.AddMember("id", id, memory);
  out.AddMember("ratings", ratings, memory);
  SendJson(response, out);
}

}  // namespace

// ratings: stars by reviewer. They can be changed by POST, in memory only.
int RunRatings() {
  std::mutex mutex;
  std::map<int, Stars> by_book;
  for (const Book& book : Books()) {
    for (const Review& review : book.reviews) by_book[book.id][review.reviewer] = review.stars;
  }
  return Serve("Ratings", [&](httplib::Server* server) {
    server->Get(
        R"(/ratings/(\d{1,9}))", [&](const httplib::Request& request, httplib::Response& response) {
          std::lock_guard lock(mutex);
          const auto book = by_book.find(std::atoi(request.matches[1].str().c_str()));
          if (book == by_book.end())
            return SendError(&response, 404, "no book has the id " + request.matches[1].str());
          Send(&response, book->first, book->second);
        });
    server->Post(
        R"(/ratings/(\d{1,9}))", [&](const httplib::Request& request, httplib::Response& response) {
          rapidjson::Document in;
          in.Parse(request.body.c_str(), request.body.size());
          Stars stars;
          bool good = !in.HasParseError() && in.IsObject() && in.MemberCount() <= 100;
          if (good) {
            for (const auto& member : in.GetObject()) {
              good = good && member.value.IsInt() && member.value.GetInt() >= 0 &&
                     member.value.GetInt() <= 5;
              if (good) stars[member.name.GetString()] = member.value.GetInt();
            }
          }
          if (!good)
            return SendError(
                &response, 400,
                "please send a JSON object of stars from 0 to 5, as in {\"Reviewer1\": 3}");
          std::lock_guard lock(mutex);
          const auto book = by_book.find(std::atoi(request.matches[1].str().c_str()));
          if (book == by_book.end())
            return SendError(&response, 404, "no book has the id " + request.matches[1].str());
          book->second = stars;
          Send(&response, book->first, book->second);
        });
    server->Get(R"(/ratings/.*)", [](const httplib::Request&, httplib::Response& response) {
      SendError(&response, 400, "please give the number of a book, as in /ratings/0");
    });
  });
}

}  // namespace weft::demo
