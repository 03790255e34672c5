// Stands in for libFuzzer in ordinary builds: runs a fuzz target over its corpus, each input also cut short and with
// single bytes changed (the same ones each time); then, for as long as asked, inputs with several changes and with parts of
// others (the same sequence each time).
//
// usage: TARGET [--seconds=N] FOLDER_OR_FILE...
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kChanges = 200;  // of each input
constexpr int kCuts = 32;

const std::string* current = nullptr;  // what runs now

void Run(const std::string& input) {
  current = &input;
  // In a buffer of its exact size, so that a sanitizer sees each read beyond it.
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  current = nullptr;
}

// Tells which input it was, as xxd -r -p reads it, and ends as before.
void OnSignal(int number) {
  constexpr std::string_view kHex = "0123456789abcdef";
  if (current != nullptr) {
    constexpr std::string_view kSays = "the input, in hexadecimal: ";
    ssize_t ignored = write(STDERR_FILENO, kSays.data(), kSays.size());
    for (unsigned char c : *current) {
      const char hex[] = {kHex[c >> 4], kHex[c & 15]};
      ignored += write(STDERR_FILENO, hex, 2);
    }
    ignored += write(STDERR_FILENO, "\n", 1);
  }
  signal(number, SIG_DFL);
  raise(number);
}

// One of the inputs with a few changes, of which some take bytes from another one.
std::string Mixed(const std::vector<std::string>& inputs, std::mt19937& random) {
  constexpr std::string_view kTelling("\0\r\n\t :,;=/0\x7f\x80\xff", 14);
  std::string out = inputs[random() % inputs.size()];
  for (unsigned n = 1 + random() % 6; n > 0; --n) {
    const std::string& other = inputs[random() % inputs.size()];
    const size_t at = random() % (out.size() + 1);
    const size_t from = other.empty() ? 0 : random() % other.size();
    switch (random() % 7) {
      case 0:
        if (at < out.size()) out[at] = static_cast<char>(random());
        break;
      case 1:
        if (at < out.size()) out[at] = kTelling[random() % kTelling.size()];
        break;
      case 2:
        out.insert(at, 1, kTelling[random() % kTelling.size()]);
        break;
      case 3:
        out.erase(at, 1 + random() % 16);
        break;
      case 4:
        out.insert(at, other.substr(from, random() % 64));
        break;
      case 5:
        out = out.substr(0, at) + other.substr(from);
        break;
      case 6:
        out.resize(at);
        break;
    }
  }
  constexpr size_t kMaxBytes = 64 * 1024;  // parts of parts would grow for ever
  if (out.size() > kMaxBytes) out.resize(kMaxBytes);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const auto begun = std::chrono::steady_clock::now();
  auto end = begun;
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    constexpr std::string_view kSeconds = "--seconds=";
    if (std::string_view(argv[i]).starts_with(kSeconds)) {
      end = begun + std::chrono::seconds(atoi(argv[i] + kSeconds.size()));
      continue;
    }
    std::error_code error;
    if (std::filesystem::is_directory(argv[i], error)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
        if (entry.is_regular_file()) files.push_back(entry.path());
      }
    } else if (std::filesystem::exists(argv[i], error)) {
      files.push_back(argv[i]);
    }
  }
  std::sort(files.begin(), files.end());  // the same sequence on every machine
  if (files.empty()) {
    std::fprintf(stderr, "%s: no inputs; usage: %s FOLDER_OR_FILE...\n", argv[0], argv[0]);
    return 1;
  }
  for (int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    struct sigaction old;
    // A sanitizer's own handlers tell more.
    if (sigaction(number, nullptr, &old) == 0 && old.sa_handler == SIG_DFL) signal(number, OnSignal);
  }
  std::mt19937 random(1);
  size_t runs = 0;
  std::vector<std::string> inputs;
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
    inputs.push_back(input);
  }
  for (; (runs & 63) != 0 || std::chrono::steady_clock::now() < end; ++runs) Run(Mixed(inputs, random));
  std::printf("%zu inputs, %zu runs, no finding\n", files.size(), runs);
  return 0;
}
