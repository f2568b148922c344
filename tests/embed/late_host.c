/* Opens libperigee at run time with RTLD_LOCAL, as a plugin host does: nothing of it is visible by name, so Lua must
   reach the engine through the library's own path. */
#include <perigee/perigee.h>

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define FIND(name) __typeof__(&name) name##_ = (__typeof__(&name))dlsym(library, #name)

int main(int count, char **arguments) {
  void *library = count == 2 ? dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library)
    return fprintf(stderr, "usage: late_host LIBPERIGEE: %s\n", dlerror()), 1;
  FIND(pg_vm_create);
  FIND(pg_vm_run);
  FIND(pg_vm_error);
  FIND(pg_vm_destroy);
  pg_vm *vm = NULL;
  if (pg_vm_create_(NULL, &vm) != PG_OK)
    return fprintf(stderr, "no VM\n"), 1;
  const char *text = "local array = require 'perigee.array'\nreturn array.ones(3, 4):sum()";
  pg_value result;
  size_t results = 0;
  if (pg_vm_run_(vm, text, strlen(text), "late.lua", &result, 1, &results) != PG_OK)
    return fprintf(stderr, "%s\n", pg_vm_error_(vm)->message), 1;
  if (results != 1 || result.kind != PG_NUMBER || result.number != 12)
    return fprintf(stderr, "wrong result\n"), 1;
  pg_vm_destroy_(vm);
  puts("late_host: all checks hold");
  return 0;
}
