#include "confined.hpp"

#include "core/abi.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>

namespace perigee::grader {

void Printer::write(const char *text, std::size_t size) {
  buffer_.append(text, size);
  if (buffer_.size() >= 1 << 14)
    flush();
}

void Printer::flush() {
  for (std::size_t at = 0; at < buffer_.size();) {
    ssize_t put = ::write(STDOUT_FILENO, buffer_.data() + at, buffer_.size() - at);
    if (put <= 0)
      break;
    at += std::size_t(put);
  }
  buffer_.clear();
}

void InputBuffer::ensure(std::size_t capacity) {
  if (capacity <= capacity_)
    return;
  capacity = (std::max(capacity, capacity_ * 3 / 2) + 4095) / 4096 * 4096;
  void *memory = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED)
    throw std::bad_alloc();
  if (memory_)
    madvise(memory_, capacity_, MADV_DONTNEED); // reads as zeros from now on
  memory_ = static_cast<std::byte *>(memory);
  capacity_ = capacity;
}

Role::Role(ControlPage &page, nlohmann::json settings, std::string script)
    : page_(page), settings_(std::move(settings)), script_(std::move(script)) {
  // Whoever asks for a thread that the sandbox refuses ends the process: oneTBB, and OpenBLAS as soon as it is loaded.
  const int threads = settings_.at("threads").get<int>();
  pg_threads_set(threads);
  setenv("OPENBLAS_NUM_THREADS", std::to_string(threads).c_str(), 1);
  std::string modules;
  if (settings_.at("modules").is_array())
    for (const auto &name : settings_["modules"])
      modules += (modules.empty() ? "" : " ") + name.get<std::string>();
  pg_vm_options options{};
  options.struct_size = sizeof options;
  options.jit_off = !settings_.at("jit").get<bool>();
  options.memory_limit = settings_.at("memory").get<int64_t>();
  options.modules = settings_["modules"].is_array() ? modules.c_str() : nullptr;
  options.print = [](void *user, const char *text, std::size_t size) {
    static_cast<Printer *>(user)->write(text, size);
  };
  options.print_user = &printer_;
  if (pg_vm_create(&options, &vm_) != PG_OK)
    throw std::runtime_error("the engine does not start");
  bool ok = with_lua([this](lua_State *L) {
    push_core(L, "require");
    lua_pushliteral(L, "array");
    lua_call(L, 1, 1);
    bridge_ = wire::bridge(L);
  });
  if (!ok)
    throw std::runtime_error("the array module does not load: " + vm_error());
  encoder_ = std::make_unique<wire::Encoder>(bridge_);
}

void Role::push_core(lua_State *L, const char *field) {
  lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
  lua_getfield(L, -1, field);
  lua_remove(L, -2);
}

void Role::start_mpi() {
  const bool ok = with_lua([](lua_State *L) {
    push_core(L, "require");
    lua_pushliteral(L, "mpi");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "world");
    lua_getfield(L, -1, "rank");
  });
  if (!ok)
    throw std::runtime_error("MPI does not start: " + vm_error());
}

void Role::report(Span &span, const void *data, std::size_t size) {
  span.address = reinterpret_cast<uintptr_t>(data);
  span.bytes = size;
}

Status Role::fail(Status status, std::string message) {
  text_ = std::move(message);
  report(page_.text, text_.data(), text_.size());
  return status;
}

std::string Role::vm_error() const {
  const pg_error *error = pg_vm_error(vm_);
  std::string text;
  if (*error->file)
    text = std::string(error->file) + ":" + (error->line > 0 ? std::to_string(error->line) + ":" : "") + " ";
  text += error->message;
  if (*error->traceback)
    text += std::string("\n") + error->traceback;
  return text;
}

Status Role::fail_vm(Status status) {
  return fail(pg_vm_error(vm_)->status == PG_ERROR_MEMORY ? Status::memory_limit : status, vm_error());
}

// Drops what the last batch left, collects garbage, makes room for inputs. Outside the clock.
Status Role::prepare() {
  encoder_->release();
  bool ok = with_lua([](lua_State *L) {
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "perigee.results");
    push_core(L, "collect");
    lua_call(L, 0, 0);
  });
  if (!ok)
    return fail_vm(Status::script_error);
  input_.ensure(page_.capacity);
  report(page_.input, input_.all().data(), input_.all().size());
  return Status::ok;
}

Status Role::carry_out(Command command) {
  try {
    switch (command) {
    case Command::load:
      return load();
    case Command::prepare:
      return prepare();
    default:
      return answer(command);
    }
  } catch (const std::bad_alloc &) {
    return fail(Status::memory_limit, "out of memory");
  } catch (const std::exception &e) {
    return fail(Status::internal, e.what());
  }
}

void Role::serve() {
  for (uint32_t sequence = 1;; ++sequence) {
    page_.done = sequence;
    futex_wake(page_.done);
    while (page_.go == sequence)
      futex_wait(page_.go, sequence, 0);
    page_.status = carry_out(page_.command);
    printer_.flush();
  }
}

} // namespace perigee::grader
