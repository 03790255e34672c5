#include "tools/demo/books.h"

#include <charconv>

namespace weft::demo {

const std::vector<Book>& Books() {
  static const std::vector<Book>* books = new std::vector<Book>{
      {0,
       "The Second Shuttle",
       "Two weavers, twins by trade if not by birth, are handed each other's commissions for a "
       "day. Every thread ends up in "
       "the wrong cloth, and the cloth is better for it.",
       "Ottilie Marsh",
       "paperback",
       "Selvedge House",
       "English",
       "0123456789",
       "9780123456786",
       1996,
       214,
       {{"Reviewer1",
         "I laughed on the tram and missed my stop, twice. The chapter with the two ledgers alone "
         "is worth the price.",
         5},
        {"Reviewer2",
         "Slow to get going, but once the looms are swapped it never lets go. I wanted to know "
         "more about the apprentice.",
         4}}},
      {1,
       "Notes from a Quiet Mill",
       "A year in a mill that nobody closed, because nobody remembered that it was open.",
       "Jonas Kettering",
       "hardcover",
       "Selvedge House",
       "English",
       "0987654322",
       "9780987654328",
       2004,
       168,
       {{"Reviewer1", "Nothing happens, beautifully.", 4},
        {"Reviewer2", "I would have liked a map.", 3}}},
  };
  return *books;
}

const Book* FindBook(std::string_view id) {
  int wanted = -1;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), wanted);
  if (error != std::errc() || end != id.data() + id.size()) return nullptr;
  for (const Book& book : Books()) {
    if (book.id == wanted) return &book;
  }
  return nullptr;
}

}  // namespace weft::demo
