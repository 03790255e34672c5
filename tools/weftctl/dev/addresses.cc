#include "tools/weftctl/dev/addresses.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "api/cpp/names.h"
#include "tools/weftctl/dev/files.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;

// 0 when a socket can listen there, else errno.
int TryToListen(const std::string& host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return EINVAL;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  int on =
      1;  // As the programs do: connections of an earlier run that are still closing don't matter.
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool good =
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 && listen(fd, 1) == 0;
  const int error = good ? 0 : errno;
  close(fd);
  return error;
}

// The inode of the socket that listens on port, at `host` or at every address; empty when it is not
// to be seen.
std::string ListeningInode(const std::string& host, uint16_t port) {
  in_addr wanted{};
  inet_pton(AF_INET, host.c_str(), &wanted);
  char exact[16], any[16];
  std::snprintf(exact, sizeof(exact), "%08X:%04X", wanted.s_addr, port);
  std::snprintf(any, sizeof(any), "00000000:%04X", port);
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    FILE* file = std::fopen(table, "re");
    if (file == nullptr) continue;
    char line[512], local[128], state[8], inode[32];
    std::string found;
    while (found.empty() && std::fgets(line, sizeof(line), file) != nullptr) {
      if (std::sscanf(line, " %*s %127s %*s %7s %*s %*s %*s %*s %*s %31s", local, state, inode) !=
          3)
        continue;
      const std::string_view end(local);
      const bool same = end == exact || end == any ||
                        (end.size() > 13 && end.ends_with(any) && end.substr(0, 8) == "00000000");
      if (std::strcmp(state, "0A") == 0 && same) found = inode;
    }
    std::fclose(file);
    if (!found.empty()) return found;
  }
  return "";
}

// "haproxy (pid 12)" of the process that has the socket open; empty when it can't be told (another
// user's).
std::string Holder(const std::string& inode) {
  const std::string wanted = "socket:[" + inode + "]";
  std::error_code error;
  for (fs::directory_iterator process("/proc", error), end; process != end;
       process.increment(error)) {
    int pid = 0;
    if (!absl::SimpleAtoi(process->path().filename().string(), &pid)) continue;
    std::error_code hidden;
    for (fs::directory_iterator fd(process->path() / "fd", hidden), last; !hidden && fd != last;
         fd.increment(hidden)) {
      std::error_code gone;
      if (fs::read_symlink(fd->path(), gone) != wanted) continue;
      std::string name;
      if (!ReadFile((process->path() / "comm").string(), &name).ok()) name = "a process";
      while (!name.empty() && name.back() == '\n') name.pop_back();
      return absl::StrCat(name, " (pid ", pid, ")");
    }
  }
  return "";
}

}  // namespace

std::vector<WantedAddress> WantedAddresses(const MeshPlan& plan) {
  std::vector<WantedAddress> out;
  const auto add = [&](const std::string& address, std::string who, std::string remedy) {
    if (const auto parsed = api::ParseHostPort(address))
      out.push_back({parsed->host, parsed->port, std::move(who), std::move(remedy)});
  };
  add(plan.xds_address, "the controller (xDS)", "controller.xdsAddress");
  add(plan.controller_admin_address, "the controller (admin)", "controller.adminAddress");
  std::set<uint16_t> service_ports;
  for (const ServicePlan& service : plan.services) {
    for (const PortPlan& port : service.ports) service_ports.insert(port.number);
  }
  const auto listeners = ServiceListeners(plan);
  for (const Instance& instance : plan.instances) {
    const std::string sidecar = "the sidecar of " + instance.name;
    for (const PortPlan& port : instance.ports) {
      out.push_back({instance.program_address, port.number, instance.name, "ports"});
      out.push_back({instance.sidecar_address, port.number, sidecar + " (inbound)", "ports"});
    }
    out.push_back({instance.sidecar_address, kSidecarAdminPort, sidecar + " (admin)", ""});
    out.push_back({instance.sidecar_address, kHttpProxyPort, sidecar + " (HTTP proxy)", ""});
    for (const auto& [service, port] : listeners)
      out.push_back({instance.sidecar_address, port, sidecar + " (" + service + ")", ""});
    for (const uint16_t port : service_ports)
      out.push_back({instance.outbound_address, port, sidecar + " (outbound)", ""});
  }
  return out;
}

std::vector<std::string> TakenAddresses(const std::vector<WantedAddress>& wanted) {
  std::vector<std::string> out;
  for (const WantedAddress& address : wanted) {
    const int error = TryToListen(address.host, address.port);
    if (error == 0) continue;
    std::string line =
        absl::StrCat(address.host, ":", address.port, ", wanted by ", address.who, ", ");
    if (error == EADDRINUSE) {
      const std::string inode = ListeningInode(address.host, address.port);
      const std::string holder = inode.empty() ? "" : Holder(inode);
      absl::StrAppend(&line, "is in use",
                      holder.empty() ? " by a process of another user" : " by " + holder);
      if (!address.remedy.empty())
        absl::StrAppend(&line, " (end it, or change ", address.remedy, " in the mesh file)");
    } else {
      absl::StrAppend(&line, "can't be used: ", std::strerror(error));
      if (error == EACCES) absl::StrAppend(&line, " (ports below 1024 need root)");
    }
    out.push_back(line);
  }
  return out;
}

}  // namespace weft::cli
