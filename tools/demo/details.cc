#include "tools/demo/books.h"
#include "tools/demo/service.h"

namespace weft::demo {

// details: what the imprint page of a book says.
int RunDetails() {
  return Serve("Details", [](httplib::Server* server) {
    server->Get(
        R"(/details/(\d{1,9}))", [](const httplib::Request& request, httplib::Response& response) {
          const Book* book = FindBook(request.matches[1].str());
          if (book == nullptr)
            return SendError(&response, 404, "no book has the id " + request.matches[1].str());
          rapidjson::Document out(rapidjson::kObjectType);
          auto& memory = out.GetAllocator();
          out.AddMember("id", book->id, memory);
          out.AddMember("author", rapidjson::StringRef(book->author), memory);
          out.AddMember("year", book->year, memory);
          out.AddMember("type", rapidjson::StringRef(book->type), memory);
          out.AddMember("pages", book->pages, memory);
          out.AddMember("publisher", rapidjson::StringRef(book->publisher), memory);
          out.AddMember("language", rapidjson::StringRef(book->language), memory);
          out.AddMember("ISBN-10", rapidjson::StringRef(book->isbn10), memory);
          out.AddMember("ISBN-13", rapidjson::StringRef(book->isbn13), memory);
          SendJson(&response, out);
        });
    server->Get(R"(/details/.*)", [](const httplib::Request&, httplib::Response& response) {
      SendError(&response, 400, "please give the number of a book, as in /details/0");
    });
  });
}

}  // namespace weft::demo
