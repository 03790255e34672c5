#include "dataplane/http/path.h"

#include <gtest/gtest.h>

namespace weft::http {
namespace {

std::string Normalized(std::string_view path) {
  std::string out;
  AppendNormalizedPath(path, &out);
  return out;
}

TEST(Path, Normalizes) {
  struct {
    const char *in, *out;
  } cases[] = {
      {"/", "/"},
      {"/a/b", "/a/b"},
      {"/a/./b", "/a/b"},
      {"/a/../b", "/b"},
      {"/a/b/..", "/a/"},
      {"/a/b/.", "/a/b/"},
      {"/../../etc", "/etc"},
      {"/..", "/"},
      {"/a/%2e%2E/b", "/b"},
      {"/%61%2Fb", "/a%2Fb"},
      {"/a\\..\\b", "/b"},
      {"/a/../b?x=/../y%2e", "/b?x=/../y%2e"},
      {"/a%", "/a%"},
      {"/a%4", "/a%4"},
      {"/a%zz", "/a%zz"},
      {"/...", "/..."},
      {"/.a/..b", "/.a/..b"},
      {"//a/..", "//"},
  };
  for (auto& c : cases) EXPECT_EQ(Normalized(c.in), c.out) << c.in;
}

TEST(Path, WhatNeedsNothingIsLeftAlone) {
  for (const char* path : {"/", "/a/b.c", "/a?b=//.%41", "/a-b_c~d"}) {
    EXPECT_FALSE(NeedsNormalizing(path)) << path;
    EXPECT_EQ(Normalized(path), path);
  }
  for (const char* path : {"/a/./b", "/a//b", "/%41", "/a\\b"}) EXPECT_TRUE(NeedsNormalizing(path)) << path;
}

TEST(Path, MergesSlashesBeforeTheQueryOnly) {
  std::string out;
  AppendWithMergedSlashes("//a///b/?c=//d", &out);
  EXPECT_EQ(out, "/a/b/?c=//d");
}

}  // namespace
}  // namespace weft::http
