#pragma once

// Commands that ask a controller through weft.mgmt.v1: apply, get, delete, validate, proxy-status.

#include <string>
#include <vector>

#include "tools/weftctl/terminal.h"

namespace weft::cli {

// Which controller: a socket, or the mesh that is running here.
struct ControllerChoice {
  std::string socket, state, mesh;
};

struct FileOptions {
  ControllerChoice controller;
  std::vector<std::string>
      files;  // "-" is standard input; a folder is all its *.yaml, *.yml and *.json.
  std::string ns = "default";
  bool dry_run = false;
  std::string owner_file;
  Format format = Format::kTable;
};
int Apply(const FileOptions& options);
int Validate(const FileOptions& options);

struct GetOptions {
  ControllerChoice controller;
  std::string kind, name, ns = "default";
  bool all_namespaces = false;
  Format format = Format::kTable;
};
int Get(const GetOptions& options);

struct DeleteOptions {
  ControllerChoice controller;
  std::string kind, name, ns = "default";
  std::vector<std::string> files;
  bool dry_run = false, ignore_not_found = false;
};
int Delete(const DeleteOptions& options);

struct ProxyStatusOptions {
  ControllerChoice controller;
  std::string node;
  Format format = Format::kTable;
};
// Exit code 1 when a proxy refused something.
int ProxyStatus(const ProxyStatusOptions& options);

}  // namespace weft::cli
