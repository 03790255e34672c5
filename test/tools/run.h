#pragma once

// For tests that run the real binaries.

#include <sys/wait.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

namespace weft::test {

// Path of a binary of this repository ("tools/weftctl/weftctl"): in the runfiles of `bazel test`,
// or beside this test in bazel-bin when it is run by hand.
inline std::string BinaryPath(const std::string& name) {
  const char* runfiles = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  if (runfiles != nullptr && workspace != nullptr) {
    const std::string path = std::string(runfiles) + "/" + workspace + "/" + name;
    if (std::filesystem::exists(path)) return path;
  }
  const auto self = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  return (self / "../.." / name).lexically_normal().string();
}

struct RunResult {
  int code = -1;
  std::string output;  // Standard output and error, as they came.
};

// Runs a shell command to its end.
inline RunResult Shell(const std::string& command) {
  RunResult out;
  FILE* pipe = popen(("( " + command + " ) 2>&1 </dev/null").c_str(), "r");
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    out.output.append(buffer, n);
  const int status = pclose(pipe);
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return out;
}

inline std::string Slurp(const std::string& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

// Waits until `condition` holds; false when it does not within 20 s.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace weft::test
