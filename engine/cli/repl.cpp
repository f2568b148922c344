// `perigee repl`: line editing, history and completion by libedit around the evaluator in repl.lua.
#include "cli/cli.hpp"
#include "core/plugin_support.hpp"

#include <editline/readline.h>
#include <lua.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>

namespace perigee::cli {

namespace {

pg_vm *current = nullptr; // libedit's callbacks and the signal handler take no context

// Calls a function of repl.lua with one string; its string result, or "" after a failure.
std::string call(const char *function, const std::string &text, pg_status &status) {
  pg_value argument{}, result{};
  argument.kind = PG_STRING;
  argument.string = text.data();
  argument.length = text.size();
  status = pg_vm_call(current, function, &argument, 1, &result, 1, nullptr);
  return status == PG_OK && result.kind == PG_STRING ? std::string(result.string, result.length) : "";
}

// Ctrl-C ends what runs: a hook raises an error at the next call or line that is interpreted. Compiled loops have no
// hooks, so a second Ctrl-C ends the program.
void raise_interrupted(lua_State *state, lua_Debug *) {
  lua_sethook(state, nullptr, 0, 0);
  luaL_error(state, "interrupted");
}
void on_interrupt(int) {
  std::signal(SIGINT, SIG_DFL);
  constexpr char note[] = "\n(stopping; Ctrl-C once more leaves Perigee)\n";
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, note, sizeof note - 1);
  lua_sethook(static_cast<lua_State *>(pg_vm_state(current)), raise_interrupted,
              LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

char **complete(const char *, int, int end) {
  rl_attempted_completion_over = 1; // never file names
  pg_status status;
  std::string list = call("complete", std::string(rl_line_buffer, static_cast<size_t>(end)), status);
  std::vector<std::string> names;
  for (size_t start = 0; start < list.size();) {
    size_t stop = std::min(list.find('\n', start), list.size());
    names.push_back(list.substr(start, stop - start));
    start = stop + 1;
  }
  if (names.empty())
    return nullptr;
  // As readline wants it: what all have in common, then each; malloc'ed.
  std::string common = names[0];
  for (const std::string &name : names)
    while (name.compare(0, common.size(), common) != 0)
      common.pop_back();
  auto **matches = static_cast<char **>(std::calloc(names.size() + 2, sizeof(char *)));
  matches[0] = strdup(common.c_str());
  for (size_t i = 0; i < names.size() && names.size() > 1; ++i)
    matches[i + 1] = strdup(names[i].c_str());
  rl_completion_append_character = 0;
  return matches;
}

// $XDG_STATE_HOME/perigee/history, "" where there is no home.
std::string history_file() {
  const char *state = std::getenv("XDG_STATE_HOME"), *home = std::getenv("HOME");
  if (!(state && *state) && !(home && *home))
    return "";
  std::filesystem::path folder =
      state && *state ? std::filesystem::path(state) : std::filesystem::path(home) / ".local" / "state";
  std::error_code error;
  std::filesystem::create_directories(folder / "perigee", error);
  return error ? "" : (folder / "perigee" / "history").string();
}

} // namespace

int repl(bool trusted) {
  pg_interrupts_take();
  pg_vm_options options{};
  options.struct_size = sizeof options;
  options.trusted = trusted;
  options.script_root = ".";
  if (pg_vm_create(&options, &current) != PG_OK) {
    std::fprintf(stderr, "perigee: %s\n", pg_last_message());
    return 3;
  }
  constexpr char loader[] = "return require 'perigee.repl'";
  if (pg_vm_load_submission(current, loader, sizeof loader - 1, "repl", "evaluate") != PG_OK) {
    print_error(current);
    pg_vm_destroy(current);
    return 3;
  }

  bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
  std::string history;
  if (terminal) {
    std::printf("Perigee %s. A line is run as it ends; an expression shows its value. `help` helps, Ctrl-D leaves.\n",
                pg_version());
    history = history_file();
    rl_readline_name = const_cast<char *>("perigee");
    rl_initialize();
    rl_attempted_completion_function = complete;
    rl_completer_word_break_characters = const_cast<char *>(" \t\n\"'`@$><=;|&{}()[]+-*/%^#,~");
    using_history();
    stifle_history(1000);
    if (!history.empty())
      read_history(history.c_str());
  }

  std::string pending;
  bool failed = false;
  for (;;) {
    std::string line;
    if (terminal) {
      char *typed = readline(pending.empty() ? "> " : ">> ");
      if (!typed)
        break;
      line = typed;
      std::free(typed);
      if (!line.empty()) {
        add_history(line.c_str());
        // At once: a script that is killed takes the prompt with it.
        if (!history.empty() && write_history(history.c_str()) == 0)
          chmod(history.c_str(), 0600); // what people type is theirs
      }
    } else if (!std::getline(std::cin, line)) {
      break;
    }
    // An empty line gives up on an unfinished statement that cannot be completed by anything sensible.
    bool give_up = terminal && !pending.empty() && line.empty();
    std::string text = pending.empty() ? line : pending + "\n" + line;
    if (!give_up && text.find_first_not_of(" \t\r\n") == std::string::npos)
      continue;
    if (give_up) {
      std::fputs("(dropped)\n", stdout);
      pending.clear();
      continue;
    }
    std::signal(SIGINT, on_interrupt);
    pg_status status;
    std::string answer = call("evaluate", text, status);
    std::signal(SIGINT, SIG_DFL);
    lua_sethook(static_cast<lua_State *>(pg_vm_state(current)), nullptr, 0, 0);
    pending = answer == "more" ? text : "";
    if (status != PG_OK) {
      print_error(current);
      failed = true;
    }
    std::fflush(stdout);
    if (answer == "leave")
      break;
  }
  if (!pending.empty()) {
    std::fputs("perigee: the input ends in the middle of a statement\n", stderr);
    failed = true;
  }
  if (terminal)
    std::fputc('\n', stdout);
  pg_vm_destroy(current);
  // A script that is piped in fails as a file would; at the prompt an error is part of the conversation.
  return failed && !terminal ? 1 : 0;
}

} // namespace perigee::cli
