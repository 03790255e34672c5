// Keeps the message types of extensions in the program.
#pragma once

namespace weft::api {

// A linker leaves out generated code that nobody refers to, and a type that was left out can't be found by its name when
// an Any is read or printed. A program that reads or prints whole Envoy configurations calls this once at its start.
void LinkEnvoyTypes();

}  // namespace weft::api
