// The exact profiles: LuaJIT's hooks for calls, returns and lines. Only interpreted code has hooks, so profiler.lua
// turns the JIT compiler off meanwhile.
#pragma once

#include "profiler/profiler.hpp"

#include <array>

namespace perigee::profiler {

// Which functions a line profile shows; all lines of a function, or every function of a chunk (defined = -1).
struct LineTarget {
  std::string source;
  int32_t defined = -1;
};

class Tracer {
 public:
  struct CallSum {
    int64_t calls = 0;
    int64_t own = 0;        // nanoseconds, less the cost of hooks
    int64_t cumulative = 0; // of outermost activations
    int32_t active = 0;
  };
  struct LineSum {
    int64_t hits = 0;
    int64_t nanoseconds = 0; // with what the line called
    int32_t active = 0;
  };

  // `lines`: trace lines too, of `targets` (of all scripts where there are none). `event_cost`: what an event costs
  // outside of the hook, in nanoseconds, as measured before (see profiler_trace.lua); it is subtracted.
  Tracer(lua_State *L, bool lines, std::vector<LineTarget> targets, double event_cost);
  ~Tracer(); // stops
  Tracer(const Tracer &) = delete;

  void stop();

  StackTree tree;             // a node a function in a call path; Frame::line is 0
  std::vector<CallSum> calls; // of each node
  // Of {source, defined, line}.
  struct FrameHash {
    size_t operator()(const Frame &f) const {
      return size_t((uint64_t(uint32_t(f.source)) << 40 ^ uint64_t(uint32_t(f.defined)) << 20 ^ uint32_t(f.line)) *
                        0x9e3779b97f4a7c15u >>
                    7);
    }
  };
  std::unordered_map<Frame, LineSum, FrameHash> lines;
  int64_t events = 0;
  int64_t hook_nanoseconds = 0; // all that was subtracted
  int64_t elapsed = 0;          // between start and stop, hooks included

  void on_hook(lua_State *L, lua_Debug *event);

 private:
  struct Activation {
    int32_t offset; // of the frame on its Lua stack (16 bits of it)
    int32_t node;
    Frame function;
    bool traced;   // its lines are
    bool native;   // a C function: ends at the caller's next instruction
    bool returned; // a Lua function that it called has returned since its last line
    int64_t start, children;
    LineSum *line;
    int32_t current; // line number
    int64_t line_start;
  };
  // Of one coroutine, or of the main one.
  struct Stack {
    std::vector<Activation> frames;
    int32_t base = 0; // the node that it stands on: of the call that resumed it
    int64_t resumed = 0, suspended = 0;
  };

  Stack &stack_of(lua_State *L, int64_t now);
  Frame function_of(lua_State *L, lua_Debug *event, bool &native, bool &own);
  bool wanted(const Frame &function) const;
  void enter(lua_State *L, Stack &stack, lua_Debug *event, int64_t now);
  LineSum *line_sum(const Frame &line);
  static void leave_line(Activation &top, int64_t now);
  void leave(std::vector<Activation> &stack, int64_t now);
  int32_t node_for(const Stack &stack, const Frame &function);
  void find_vararg(lua_State *L, std::vector<Activation> &stack, lua_Debug *event, int32_t offset);
  void set_hook(bool every_instruction);

  lua_State *main_;
  bool lines_, running_ = false, every_instruction_ = false;
  std::vector<LineTarget> targets_;
  double event_cost_;
  int64_t started_ = 0;
  int64_t overhead_ = 0;
  std::unordered_map<lua_State *, Stack> stacks_;
  std::vector<lua_State *> chain_; // coroutines that have resumed one another, the running one last
  Stack *current_ = nullptr;
  struct Known {
    Frame function;
    bool dispatch; // of the FFI, to an operator's function
  };
  struct Recent {
    Frame line;
    LineSum *sum = nullptr;
  };
  std::array<Recent, 256> recent_;
  std::unordered_map<const void *, Known> native_; // C functions, which are never collected while they can be called
};

} // namespace perigee::profiler
