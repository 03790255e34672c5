#pragma once

#include <string_view>
#include <vector>

namespace weft::demo {

// The shop's stock. Plain data, the same in every program that needs it.
struct Review {
  const char *reviewer, *text;
  int stars;  // What ratings answers before anybody changed it.
};

struct Book {
  int id;
  const char *title, *blurb, *author, *type, *publisher, *language, *isbn10, *isbn13;
  int year, pages;
  std::vector<Review> reviews;
};

const std::vector<Book>& Books();
// Null when there is no such book. `id` in decimal digits.
const Book* FindBook(std::string_view id);

}  // namespace weft::demo
