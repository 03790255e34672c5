#pragma once

// How weftctl talks: colour on a terminal only, tables, errors that say what to do next.

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace weft::cli {

enum class Format { kTable, kJson, kYaml };

enum class Color { kNone, kBold, kDim, kRed, kGreen, kYellow };

// Whether to colour what goes to `stream`: a terminal that can, and no NO_COLOR
// (https://no-color.org).
bool ColorsOn(FILE* stream);
// `text` in `color` when `on`.
std::string Paint(Color color, std::string_view text, bool on);

// Columns of text, padded with spaces. Debian 12 has no table library for C++ (libfort and tabulate
// came later), and this is all that is needed. Owner: the command that prints. Thread: any one.
// Destroyed when: printed.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

  struct Cell {
    Cell(std::string cell_text, Color cell_color = Color::kNone)
        : text(std::move(cell_text)), color(cell_color) {}
    Cell(const char* cell_text, Color cell_color = Color::kNone)
        : text(cell_text), color(cell_color) {}
    std::string text;
    Color color;
  };
  void AddRow(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  size_t size() const { return rows_.size(); }
  std::string ToString(bool colors) const;
  void Print(FILE* stream) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<Cell>> rows_;
};

// "error: WHAT" and the advice on lines of their own, to standard error. Returns 1, for `return
// Fail(...)`.
int Fail(std::string_view what, std::string_view advice = "");
int Fail(const absl::Status& status, std::string_view advice = "");
void Warn(std::string_view what);

// "3s", "2m10s", "5h03m", "4d": how long something has been so.
std::string Age(double seconds);

}  // namespace weft::cli
