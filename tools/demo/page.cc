#include "tools/demo/page.h"

#include <algorithm>

namespace weft::demo {
namespace {

// Cream paper, ink, and a band of woven threads: two sets of stripes that cross. No picture, script
// or font is fetched.
constexpr std::string_view kStyle = R"css(
:root { --ink: #22262b; --soft: #6a7078; --paper: #faf7f1; --card: #ffffff; --line: #e7e1d5; --thread: #b3402a; --warp: #2f5d62; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.6 Georgia, "Times New Roman", serif; }
.band { height: 14px; background:
  repeating-linear-gradient(90deg, rgba(47,93,98,.85) 0 7px, transparent 7px 14px),
  repeating-linear-gradient(0deg, #b3402a 0 3.5px, #e9c46a 3.5px 7px); }
.wrap { max-width: 1000px; margin: 0 auto; padding: 0 24px; }
nav { display: flex; align-items: center; gap: 16px; padding: 18px 0; font-family: system-ui, sans-serif; font-size: 15px; }
nav b { font-size: 18px; letter-spacing: .02em; margin-right: auto; }
nav form { display: flex; gap: 8px; margin: 0; }
nav input { width: 130px; padding: 6px 10px; border: 1px solid var(--line); border-radius: 6px; font: inherit; background: #fff; }
button, .button { padding: 6px 14px; border: 0; border-radius: 6px; background: var(--warp); color: #fff; font: inherit; font-family: system-ui, sans-serif;
  font-size: 15px; cursor: pointer; text-decoration: none; display: inline-block; }
.hero { display: grid; grid-template-columns: 190px 1fr; gap: 36px; padding: 30px 0 38px; }
.cover { aspect-ratio: 2 / 3; border-radius: 4px 8px 8px 4px; color: #fff; padding: 20px 16px; display: flex; flex-direction: column;
  justify-content: space-between; box-shadow: 0 12px 28px rgba(34,38,43,.22); background:
  repeating-linear-gradient(90deg, rgba(255,255,255,.06) 0 6px, transparent 6px 12px),
  repeating-linear-gradient(0deg, rgba(0,0,0,.10) 0 6px, transparent 6px 12px), var(--warp); }
.cover strong { font-size: 22px; line-height: 1.2; } .cover span { font-size: 14px; opacity: .85; }
h1 { font-size: 40px; line-height: 1.15; margin: 4px 0 10px; font-weight: 600; }
.by { color: var(--soft); margin: 0 0 16px; }
.cols { display: grid; grid-template-columns: 300px 1fr; gap: 28px; padding-bottom: 40px; align-items: start; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 22px 24px; }
h2 { font: 600 14px/1.4 system-ui, sans-serif; text-transform: uppercase; letter-spacing: .09em; color: var(--soft); margin: 0 0 14px; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 6px 18px; margin: 0; font-size: 15px; }
dt { color: var(--soft); } dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
blockquote { margin: 0 0 20px; padding: 0 0 18px; border-bottom: 1px solid var(--line); }
blockquote:last-of-type { border: 0; margin-bottom: 4px; padding-bottom: 6px; }
blockquote p { margin: 0 0 6px; } cite { font: 14px system-ui, sans-serif; color: var(--soft); }
.stars { letter-spacing: 3px; font-size: 19px; margin-left: 10px; vertical-align: -1px; } .stars .off { opacity: .18; }
.stars.black { color: #1b1d20; } .stars.red { color: #c5281c; }
.trouble { background: #fbecea; border-left: 4px solid var(--thread); padding: 12px 16px; border-radius: 4px; }
.served { font: 13px ui-monospace, Menlo, Consolas, monospace; color: var(--soft); border-top: 1px dashed var(--line); padding-top: 12px; margin-top: 10px; }
footer { font: 14px system-ui, sans-serif; color: var(--soft); padding: 0 0 40px; }
a { color: var(--thread); }
@media (max-width: 760px) { .hero, .cols { grid-template-columns: 1fr; } .cover { width: 150px; } nav { flex-wrap: wrap; } }
)css";

std::string Frame(std::string_view title, const std::string& body) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>";
  out += Escape(title);
  out += "</title>\n<style>";
  out += kStyle;
  out += "</style>\n</head>\n<body>\n<div class=\"band\"></div>\n<div class=\"wrap\">\n";
  out += body;
  out += "</div>\n</body>\n</html>\n";
  return out;
}

std::string Navigation(const std::string& user) {
  std::string out = "<nav><b>Selvedge Books</b>";
  if (user.empty()) {
    out +=
        "<form method=\"post\" action=\"/login\"><input name=\"username\" placeholder=\"your "
        "name\" aria-label=\"Name\" "
        "required><input name=\"passwd\" type=\"password\" placeholder=\"any password\" "
        "aria-label=\"Password\">"
        "<button>Sign in</button></form>";
  } else {
    out += "<span>signed in as <strong>" + Escape(user) +
           "</strong></span><a class=\"button\" href=\"/logout\">Sign out</a>";
  }
  return out + "</nav>\n";
}

std::string Stars(const PageModel::Row& row) {
  if (!row.stars)
    return row.rating_error.empty() ? "" : " <em>" + Escape(row.rating_error) + "</em>";
  const int full = std::max(0, std::min(5, *row.stars));
  std::string out = "<span class=\"stars " + Escape(row.color) + "\" title=\"" +
                    std::to_string(full) + " of 5\">";
  for (int i = 0; i < full; ++i) out += "&#9733;";
  out += "<span class=\"off\">";
  for (int i = full; i < 5; ++i) out += "&#9733;";
  return out + "</span></span>";
}

std::string Trouble(const std::string& message) {
  return "<p class=\"trouble\">" + Escape(message) + "</p>\n";
}

}  // namespace

std::string Escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string RenderProductPage(const PageModel& model) {
  const Book& book = *model.book;
  std::string out = Navigation(model.user);
  out += "<section class=\"hero\"><div class=\"cover\"><strong>" + Escape(book.title) +
         "</strong><span>" + Escape(book.author) + "</span></div><div><h1>" + Escape(book.title) +
         "</h1><p class=\"by\">by " + Escape(book.author) + "</p><p>" + Escape(book.blurb) +
         "</p></div></section>\n<section class=\"cols\">\n<div class=\"card\" "
         "id=\"details\"><h2>Details</h2>\n";
  if (!model.details_error.empty()) {
    out += Trouble(model.details_error);
  } else {
    out += "<dl>";
    for (const auto& [label, text] : model.details)
      out += "<dt>" + Escape(label) + "</dt><dd>" + Escape(text) + "</dd>";
    out += "</dl>\n";
  }
  out += "</div>\n<div class=\"card\" id=\"reviews\"><h2>What readers say</h2>\n";
  if (!model.reviews_error.empty()) {
    out += Trouble(model.reviews_error);
  } else {
    for (const auto& row : model.reviews) {
      out += "<blockquote><p>" + Escape(row.text) + "</p><cite>" + Escape(row.reviewer) +
             "</cite>" + Stars(row) + "</blockquote>\n";
    }
    out += "<div class=\"served\">reviews " + Escape(model.reviews_version) + ", served by " +
           Escape(model.reviews_pod) + "</div>\n";
  }
  out +=
      "</div>\n</section>\n<footer>Reload the page and watch which version of <em>reviews</em> "
      "answers. "
      "The JSON behind it: <a href=\"/api/v1/products\">/api/v1/products</a></footer>\n";
  return Frame(std::string(book.title) + " - Selvedge Books", out);
}

std::string RenderIndex() {
  return Frame(
      "Selvedge Books",
      Navigation("") +
          "<section style=\"padding: 30px 0 60px; max-width: 640px\"><h1>A small bookshop in a "
          "mesh</h1>"
          "<p>Four programs make the page behind the button: <em>productpage</em> asks "
          "<em>details</em> and "
          "<em>reviews</em>, and some versions of reviews ask <em>ratings</em>. None of them knows "
          "that a proxy stands "
          "beside it. Change a routing file, reload, and see other stars.</p>"
          "<p><a class=\"button\" href=\"/productpage\">Open the product page</a></p></section>\n");
}

}  // namespace weft::demo
