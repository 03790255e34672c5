#pragma once

#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace weft::ctl::testing {

// A directory of one test, removed with it.
class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "weft-test-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }

  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

  // As a shell's redirection does: truncate, write, close.
  void Write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::trunc | std::ios::binary) << text;
  }
  // As most editors do: another file, then rename over.
  void Replace(const std::string& name, const std::string& text) const {
    Write(name + "~tmp", text);
    Rename(name + "~tmp", name);
  }
  void Rename(const std::string& from, const std::string& to) const { std::filesystem::rename(Path(from), Path(to)); }
  void Remove(const std::string& name) const { std::filesystem::remove_all(Path(name)); }

 private:
  std::string path_;
};

}  // namespace weft::ctl::testing
