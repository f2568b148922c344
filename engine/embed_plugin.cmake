# Writes OUTPUT, the C++ file with which plugin NAME hands its declarations and Lua files to the engine (plugin.cmake).
# Run as a script: cmake -DNAME=... -DOUTPUT=... -DFILES=a_abi.h;a.lua;... -P embed_plugin.cmake
set(body "#include \"core/abi.hpp\"\n#include <cstring>\nnamespace {\n")
set(table "")
set(count 0)
foreach(file IN LISTS FILES)
  file(READ ${file} hex HEX)
  get_filename_component(name ${file} NAME)
  if(name STREQUAL "${NAME}_abi.h") # the declaration of pg_<name>_source, defined below
    string(HEX "\nconst char *pg_${NAME}_source(const char *file);\n" more)
    string(APPEND hex "${more}")
  endif()
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND body "const unsigned char file_${count}[] = {${bytes}0};\n")
  string(APPEND table "  {\"${name}\", reinterpret_cast<const char *>(file_${count})},\n")
  if(name STREQUAL "${NAME}_abi.h")
    set(cdef "reinterpret_cast<const char *>(file_${count})")
  elseif(name STREQUAL "${NAME}.lua")
    set(lua "reinterpret_cast<const char *>(file_${count})")
  endif()
  math(EXPR count "${count} + 1")
endforeach()
string(APPEND body "struct { const char *name, *text; } const files[] = {\n${table}};\n"
  "const pg_plugin plugin{1, ${cdef}, ${lua}, nullptr};\n}\n"
  "#pragma GCC visibility push(default)\nextern \"C\" {\n"
  "const char *pg_${NAME}_source(const char *file) {\n"
  "  for (const auto &f : files)\n    if (std::strcmp(f.name, file) == 0)\n      return f.text;\n  return nullptr;\n}\n"
  "const pg_plugin *pg_${NAME}_plugin(void) { return &plugin; }\n}\n")
file(WRITE ${OUTPUT} "${body}")
