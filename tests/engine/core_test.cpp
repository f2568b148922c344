// The VM through its public C++ interface: what scripts may see, how errors read, memory limits, the JIT switch.
#include <catch2/catch.hpp>

#include <algorithm>

#include <algorithm>

#include "core/vm.hpp"
#include "perigee/perigee.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

using perigee::Value;
using perigee::Vm;
using perigee::VmError;
using perigee::VmOptions;

namespace {

// The error that running `text` as "s.lua" gives.
VmError error_of(Vm &vm, const std::string &text) {
  try {
    vm.run(text, "s.lua");
  } catch (const VmError &error) {
    return error;
  }
  FAIL("no error from: " << text);
  throw;
}

std::string message_of(const std::string &text) {
  Vm vm;
  return error_of(vm, text).what();
}

} // namespace

TEST_CASE("a chunk runs and returns its values", "[core]") {
  Vm vm;
  auto values = vm.run("return 42, 'text', true, nil", "s.lua");
  REQUIRE(values.size() == 4);
  CHECK(values[0].number() == 42);
  CHECK(values[1].string() == "text");
  CHECK(values[2].boolean());
  CHECK(values[3].is_nil());
  CHECK_THROWS_WITH(values[0].string(), "the value is a number, not a string");
}

TEST_CASE("errors name file and line and keep the traceback free of engine frames", "[core]") {
  Vm vm;
  VmError error = error_of(vm, "local a\nlocal function f()\n  local b = a.field\nend\nf()");
  CHECK(error.status == PG_ERROR_RUNTIME);
  CHECK(error.file == "s.lua");
  CHECK(error.line == 3);
  CHECK(error.message == "attempt to index upvalue 'a' (a nil value)");
  CHECK(error.traceback == "s.lua:3: in function 'f'\ns.lua:5: in the main chunk");
  error = error_of(vm, "local x = = 3");
  CHECK(error.status == PG_ERROR_SYNTAX);
  CHECK(error.line == 1);
  Vm other;
  error = error_of(other, "local pg = require 'perigee'\n\npg.jit('maybe')");
  CHECK(error.line == 3);
  CHECK(error.message == "jit: \"on\" or \"off\" expected, got \"maybe\"");
  CHECK(error.traceback == "s.lua:3: in the main chunk");
  CHECK(error_of(vm, "x = 1").file == "s.lua (2)"); // another text under the same name
  CHECK(error_of(vm, "error({})").message.find("raised a table") != std::string::npos);
  CHECK(error_of(vm, "error(setmetatable({}, {__tostring = function() return 'mine' end}))").message == "mine");
  CHECK(error_of(vm, "error('s.lua is bad: 3: x', 0)").message == "s.lua is bad: 3: x");
}

TEST_CASE("a long recursion is reported, and its traceback is cut", "[core]") {
  Vm vm;
  VmError error = error_of(vm, "local function f(n) return 1 + f(n + 1) end\nf(1)");
  CHECK(error.message.find("stack overflow: too many calls") == 0);
  CHECK(error_of(vm, "error('this stack of mine: stack overflow', 0)").message == "this stack of mine: stack overflow");
  // Compiled code may leave no room to say where.
  error = error_of(vm, "require 'perigee'.jit('off')\nlocal function f(n) return 1 + f(n + 1) end\nf(1)");
  CHECK(error.message.find("stack overflow: too many calls") == 0);
  CHECK(error.file == "s.lua (3)");
  CHECK(error.line == 2);
  CHECK(error.traceback.find("s.lua (3):2: in function 'f'") != std::string::npos);
  CHECK(std::count(error.traceback.begin(), error.traceback.end(), '\n') < 30);
}

TEST_CASE("scripts see an allow-list only", "[core]") {
  for (const char *name : {"debug", "ffi", "package", "dofile", "loadfile", "setfenv", "getfenv", "newproxy", "module", "jit"}) {
    CAPTURE(name);
    CHECK_THAT(message_of(std::string("local x = ") + name), Catch::Contains(std::string("'") + name + "' is not defined"));
  }
  Vm vm;
  for (const char *name : {"io.open", "os.execute", "os.exit", "os.getenv"}) {
    CAPTURE(name);
    CHECK_THAT(message_of(std::string("local x = ") + name), Catch::Contains(std::string("'") + name + "' is not defined"));
  }
  for (const char *text : {"return rawget(os, 'exit')", "return getmetatable(os) or nil", "return string.dump",
                           "return ('').dump", "return coroutine.nothing"})
    CHECK(vm.run(text, "s.lua").at(0).is_nil());
  CHECK(vm.run("return getmetatable('')", "s.lua").at(0).boolean() == false);
  CHECK_THAT(message_of("require 'ffi'"), Catch::Contains("module 'ffi' is not available here"));
  CHECK_THAT(message_of("require '../secret'"), Catch::Contains("not available"));
  CHECK(vm.run("return type(math.sqrt), type(bit.band), type(string.rep), type(table.sort), type(coroutine.wrap)", "s.lua")
            .at(4)
            .string() == "function");
}

TEST_CASE("globals are strict", "[core]") {
  CHECK(message_of("function solve() end") == "s.lua:1: global 'solve' cannot be assigned: write local solve");
  CHECK(message_of("\nx = 1") == "s.lua:2: global 'x' cannot be assigned: write local x");
  CHECK(message_of("return y") == "s.lua:1: 'y' is not defined");
}

TEST_CASE("only text is loaded", "[core]") {
  CHECK_THAT(message_of("\x1bLJ\x02"), Catch::Contains("bytecode"));
  CHECK_THAT(message_of(std::string("return 1\0", 9)), Catch::Contains("zero byte at offset 8"));
  CHECK_THAT(message_of(std::string((1 << 20) + 1, ' ')), Catch::Contains("larger than 1 MiB"));
  Vm vm;
  auto values = vm.run("return load('\\27LJ')", "s.lua");
  CHECK(values.at(0).is_nil());
  CHECK(values.at(1).string() == "bytecode cannot be loaded, only text");
  CHECK(vm.run("return load('return 7')()", "s.lua").at(0).number() == 7);
  CHECK_THAT(message_of("load('x', 'n', 'b')"), Catch::Contains("only text can be loaded"));
  CHECK(vm.run("return load('x = = 1', '=name')", "s.lua").at(1).string().find("name:1:") == 0);
}

TEST_CASE("files that are no scripts are refused by name", "[core]") {
  using perigee::core::read_script;
  CHECK_THROWS_WITH(read_script("/nowhere/x.lua"), "cannot read /nowhere/x.lua: No such file or directory");
  CHECK_THROWS_WITH(read_script("/"), "cannot read /: it is a directory");
  CHECK_THROWS_WITH(read_script("/dev/null"), "cannot read /dev/null: it is not a regular file");
  auto path = std::filesystem::temp_directory_path() / "perigee_core_test.lua";
  std::ofstream(path) << "\xef\xbb\xbf#!/usr/bin/env perigee\nreturn 1";
  CHECK(read_script(path).starts_with("#!"));
  Vm vm;
  CHECK_NOTHROW(vm.run_file(path));
  std::filesystem::remove(path);
}

TEST_CASE("a script's own modules come from its folder only", "[core]") {
  auto folder = std::filesystem::temp_directory_path() / "perigee core test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "helper.lua") << "local calls = 0\nreturn { next = function() calls = calls + 1 return calls end }";
  VmOptions options;
  options.script_root = folder;
  Vm vm(std::move(options));
  CHECK(vm.run("require('helper').next() return require('helper').next()", "s.lua").at(0).number() == 2);
  CHECK_THAT(error_of(vm, "require 'missing'").message, Catch::Contains("missing.lua: No such file"));
  CHECK_THAT(error_of(vm, "require '..helper'").message, Catch::Contains("is not a module name"));
  CHECK_THAT(error_of(vm, "require 'a/../../helper'").message, Catch::Contains("is not a module name"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("a VM can be limited to some modules", "[core]") {
  VmOptions options;
  options.modules = "timer";
  Vm vm(std::move(options));
  CHECK(vm.run("return type(require('perigee').timer)", "s.lua").at(0).string() == "table");
  CHECK(error_of(vm, "require 'perigee.array'").message == "module 'perigee.array' is not allowed here; allowed: timer");
  CHECK(vm.run("return require('perigee').available('array')", "s.lua").at(0).boolean() == false);
}

TEST_CASE("what is not there says why", "[core]") {
  Vm vm;
  auto values = vm.run("return require('perigee').available('teleport')", "s.lua");
  CHECK(values.at(0).boolean() == false);
  CHECK(values.at(1).string() == "this build of Perigee has no module 'teleport'");
  CHECK(vm.run("return require('perigee').available('array')", "s.lua").at(0).boolean());
}

TEST_CASE("a submission must return a table with its entry function", "[core]") {
  auto refusal = [](const std::string &text) -> std::string {
    Vm vm;
    try {
      vm.load(text, "s.lua", "solve");
    } catch (const VmError &error) {
      CHECK(error.file == "s.lua");
      return error.message;
    }
    return "";
  };
  CHECK(refusal("local x = 1") == "the script returns nothing; end it with: return { solve = solve }");
  CHECK(refusal("return 5") == "the script returns a number; end it with: return { solve = solve }");
  CHECK(refusal("return { solve = 5 }") ==
        "'solve' in the table that the script returns is a number, not a function; end it with: return { solve = solve }");
  CHECK(refusal("return { answer = function() end }") ==
        "the table that the script returns has no function 'solve' (it has: answer); end it with: return { solve = solve }");
  CHECK(refusal("return {") .find("unexpected symbol") != std::string::npos);
  CHECK(refusal("return { solve = function() end }") == "");
}

TEST_CASE("the memory limit holds for Lua values and arrays, and the VM survives it", "[core]") {
  VmOptions options;
  options.memory_limit = 32 << 20;
  Vm vm(std::move(options));
  for (const char *hog : {"local t = {} for i = 1, 1e9 do t[i] = { i } end",
                          "local s = 'xx' while true do s = s .. s end",
                          "local array = require 'perigee.array' local t = {} while true do t[#t + 1] = array.zeros(1e5) end",
                          "require('perigee.array').zeros(1e9)"}) {
    CAPTURE(hog);
    VmError error = error_of(vm, hog);
    CHECK(error.status == PG_ERROR_MEMORY);
    CHECK_THAT(error.message, Catch::Contains("memory limit reached"));
    CHECK(vm.run("collectgarbage() collectgarbage() return 1", "s.lua").at(0).number() == 1);
    CHECK(vm.memory() < 8 << 20);
  }
  CHECK_NOTHROW(vm.run("local array = require 'perigee.array' for i = 1, 300 do local a = array.zeros(1e5) end", "s.lua"));
}

TEST_CASE("the JIT compiler can be switched for a script and for a function", "[core]") {
  Vm vm;
  CHECK(vm.run("return require('perigee').jit()", "s.lua").at(0).string() == "on");
  CHECK(vm.run("local pg = require 'perigee' pg.jit('off') return pg.jit()", "s.lua").at(0).string() == "off");
  CHECK_NOTHROW(vm.run("local pg = require 'perigee' pg.jit('on') pg.jit('off', function() end)", "s.lua"));
  VmOptions options;
  options.jit = false;
  Vm off(std::move(options));
  CHECK(off.run("return require('perigee').jit()", "s.lua").at(0).string() == "off");
}

TEST_CASE("host functions take and give values, and their errors are at the script's line", "[core]") {
  Vm vm;
  vm.bind("add", [](const std::vector<Value> &v) { return std::vector<Value>{v.at(0).number() + v.at(1).number()}; });
  CHECK(vm.run("return add(2, 3)", "s.lua").at(0).number() == 5);
  VmError error = error_of(vm, "\nadd(1)");
  CHECK(error.line == 2);
  CHECK_THAT(error_of(vm, "add({}, 1)").message, Catch::Contains("argument 1 is a table"));
  vm.set("limit", 7.5);
  CHECK(vm.run("return limit", "s.lua").at(0).number() == 7.5);
}

TEST_CASE("arrays cross the border without a copy", "[core]") {
  Vm vm;
  int32_t buffer[4] = {1, 2, 3, 4};
  int released = 0;
  vm.lend("lent", buffer, {4}, [](void *, void *count) { ++*static_cast<int *>(count); }, &released);
  vm.run("lent[2] = 20", "s.lua");
  CHECK(buffer[1] == 20);
  auto values = vm.run("return lent", "s.lua");
  CHECK(values.at(0).array().data<int32_t>() == buffer);
  CHECK_THROWS_WITH(values.at(0).array().data<double>(), Catch::Contains("dtype"));
  vm.set("copy", values.at(0));
  CHECK(vm.run("return copy:sum()", "s.lua").at(0).number() == 28);
  CHECK(released == 0);
  {
    Vm gone = std::move(vm);
  }
  CHECK(released == 1);
  Vm other;
  CHECK_THROWS_AS(other.lend("bad", buffer, {-1}), VmError);
  CHECK_THROWS_WITH(other.run("return {}", "s.lua"), Catch::Contains("result 1 is a table"));
}

TEST_CASE("wrong use of the C ABI is a status, never a crash", "[core]") {
  CHECK(pg_vm_create(nullptr, nullptr) == PG_ERROR_ARGUMENT);
  pg_vm_options options{};
  options.struct_size = 4096;
  pg_vm *vm = nullptr;
  CHECK(pg_vm_create(&options, &vm) == PG_ERROR_ARGUMENT);
  CHECK(vm == nullptr);
  CHECK(std::string(pg_last_message()).find("struct_size") != std::string::npos);
  CHECK(pg_vm_run(nullptr, "", 0, "x", nullptr, 0, nullptr) == PG_ERROR_ARGUMENT);
  CHECK(pg_vm_error(nullptr)->status == PG_OK);
  pg_vm_destroy(nullptr);
  REQUIRE(pg_vm_create(nullptr, &vm) == PG_OK);
  CHECK(pg_vm_run(vm, nullptr, 5, "x", nullptr, 0, nullptr) == PG_ERROR_ARGUMENT);
  CHECK(pg_vm_call(vm, "nothing", nullptr, 0, nullptr, 0, nullptr) == PG_ERROR_ARGUMENT);
  CHECK(pg_vm_lend(vm, "a", nullptr, PG_FLOAT64, 1, nullptr, nullptr, nullptr) == PG_ERROR_ARGUMENT);
  pg_vm_destroy(vm);
}

TEST_CASE("VMs in several threads do not meet", "[core]") {
  std::vector<std::thread> threads;
  std::vector<double> sums(4);
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([i, &sums] {
      for (int round = 0; round < 3; ++round) {
        Vm vm;
        vm.set("start", double(i));
        sums[size_t(i)] = vm.run("local array = require 'perigee.array' local a = array.zeros(1000) "
                                 "for k = 1, 1000 do a[k] = start + k end return (a * 2):sum()", "s.lua").at(0).number();
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  for (int i = 0; i < 4; ++i)
    CHECK(sums[size_t(i)] == 2.0 * (1000 * i + 500500));
}
