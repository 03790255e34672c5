// Stands in for libFuzzer in ordinary builds: runs a fuzz target over its corpus, each input also cut short and with
// single bytes changed (the same ones each time).
//
// usage: TARGET FOLDER_OR_FILE...
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kChanges = 200;  // of each input
constexpr int kCuts = 32;

void Run(const std::string& input) {
  // In a buffer of its exact size, so that a sanitizer sees each read beyond it.
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    std::error_code error;
    if (std::filesystem::is_directory(argv[i], error)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
        if (entry.is_regular_file()) files.push_back(entry.path());
      }
    } else if (std::filesystem::exists(argv[i], error)) {
      files.push_back(argv[i]);
    }
  }
  if (files.empty()) {
    std::fprintf(stderr, "%s: no inputs; usage: %s FOLDER_OR_FILE...\n", argv[0], argv[0]);
    return 1;
  }
  std::mt19937 random(1);
  size_t runs = 0;
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    const std::string input((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    Run(input);
    ++runs;
    for (int i = 1; i < kCuts; ++i, ++runs) Run(input.substr(0, input.size() * i / kCuts));
    for (int i = 0; i < kChanges && !input.empty(); ++i, ++runs) {
      std::string changed = input;
      const size_t at = random() % changed.size();
      switch (random() % 3) {
        case 0:
          changed[at] = static_cast<char>(random());
          break;
        case 1:
          changed.erase(at, 1 + random() % 8);
          break;
        case 2:
          changed.insert(at, changed.substr(random() % changed.size(), random() % 16));
          break;
      }
      Run(changed);
    }
  }
  std::printf("%zu inputs, %zu runs, no finding\n", files.size(), runs);
  return 0;
}
