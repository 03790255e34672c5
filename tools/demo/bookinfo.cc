// The sample application: one binary, the program to be by the first argument, everything else by
// the environment.

#include <cstdio>
#include <cstring>

#include "tools/demo/service.h"

int main(int argc, char** argv) {
  struct Program {
    const char* name;
    int (*run)();
    const char* what;
  };
  static constexpr Program kPrograms[] = {
      {"productpage", weft::demo::RunProductPage,
       "the HTML page and its JSON; asks details, reviews, ratings"},
      {"details", weft::demo::RunDetails, "what the imprint says"},
      {"reviews", weft::demo::RunReviews,
       "v1 without stars, v2 black stars, v3 red stars (SERVICE_VERSION); asks ratings"},
      {"ratings", weft::demo::RunRatings, "stars by reviewer"},
  };
  if (argc == 2) {
    for (const Program& program : kPrograms) {
      if (std::strcmp(argv[1], program.name) == 0) return program.run();
    }
  }
  const bool asked = argc == 2 && std::strcmp(argv[1], "--help") == 0;
  FILE* out = asked ? stdout : stderr;
  if (!asked && argc > 1) std::fprintf(out, "error: there is no program \"%s\"\n", argv[1]);
  std::fprintf(out, "usage: bookinfo PROGRAM\n");
  for (const Program& program : kPrograms)
    std::fprintf(out, "  %-12s %s\n", program.name, program.what);
  std::fprintf(out,
               "environment: BIND_ADDRESS (0.0.0.0), PORT (9080), SERVICE_VERSION (v1), POD_NAME, "
               "LOG_REQUESTS,\n"
               "  DETAILS_HOSTNAME, DETAILS_SERVICE_PORT and the same for REVIEWS, RATINGS (the "
               "name itself, 9080)\n"
               "example: BIND_ADDRESS=127.0.0.1 PORT=9080 bookinfo ratings\n");
  return asked ? 0 : 2;
}
