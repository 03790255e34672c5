#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/demo/books.h"

namespace weft::demo {

// What a page shows; a part that could not be had has a message in its place.
struct PageModel {
  const Book* book;
  std::string user;                                          // Empty: nobody is signed in.
  std::vector<std::pair<std::string, std::string>> details;  // Label and text, in order.
  std::string details_error;
  struct Row {
    std::string reviewer, text;
    std::optional<int> stars;
    std::string color, rating_error;
  };
  std::vector<Row> reviews;
  std::string reviews_error;
  std::string reviews_version, reviews_pod;
};

// Text made safe for HTML, attributes included.
std::string Escape(std::string_view text);
std::string RenderProductPage(const PageModel& model);
// The page at /: what this is, and where to go.
std::string RenderIndex();

}  // namespace weft::demo
