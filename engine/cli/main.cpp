// The `perigee` program: reads the command line and calls what it asks for.
#include "cli/cli.hpp"
#include "grader/commands.hpp"
#include "grader/sandbox.hpp"

#include <CLI/CLI.hpp>

#include <unistd.h>

#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <set>
#include <string_view>

using namespace perigee;

namespace {

constexpr const char *exit_codes = "Exit codes: 0 passed or done, 1 did not pass (or the script failed), 2 wrong usage "
                                   "or an invalid exercise,\n3 no score (inconclusive, or this machine is at fault), "
                                   "130 stopped by Ctrl-C; what was finished is kept.";

std::filesystem::path program_path() {
  std::error_code error;
  auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::path("perigee") : path;
}

// `run FILE [ARGUMENTS...]`, `profile` and `mpirun` hand everything after FILE to the script, options included: how
// many of argv are ours.
int own_arguments(int argc, char **argv) {
  static const std::map<std::string_view, std::set<std::string_view>> with_value{
      {"run", {"--memory", "--script-root"}},
      {"profile", {"--function", "--sort", "-o", "--out", "--format"}},
      {"mpirun", {"-n", "-np", "--hostfile", "--host", "--deadlock-after", "--timeout", "--memory", "--script-root"}}};
  const auto command = argc < 2 ? with_value.end() : with_value.find(argv[1]);
  if (command == with_value.end())
    return argc;
  for (int i = 2; i < argc; ++i) {
    std::string_view word = argv[i];
    if (command->second.count(word))
      ++i;
    else if (word.size() < 2 || word[0] != '-')
      return i + 1;
  }
  return argc;
}

std::string first_word(int argc, char **argv) {
  for (int i = 1; i < argc; ++i)
    if (argv[i][0] != '-')
      return argv[i];
  return "";
}

// What other programs call what Perigee does by another name, and what near words would not find.
std::string no_command(const std::string &word, const std::vector<std::string> &commands) {
  static const std::map<std::string_view, const char *> instead{
      {"hint", "hints come with: perigee show ID --hints 1"},
      {"hints", "hints come with: perigee show ID --hints 1"},
      {"new", "an exercise is begun with: perigee start ID (to write a new one, see exercises/README.md)"},
      {"init", "an exercise is begun with: perigee start ID"},
      {"test", "a solution is graded with: perigee check ID"},
      {"submit", "a solution is graded with: perigee check ID"},
      {"time", "a script's time is shown by: perigee profile FILE"},
      {"bench", "a script measures with require \"perigee.bench\"; perigee profile FILE shows where its time goes"},
  };
  const auto known = instead.find(word);
  const std::string near = known == instead.end() ? grader::nearest(word, commands) : "";
  return "there is no command \"" + word + "\"" +
         (known != instead.end() ? std::string("; ") + known->second
          : near.empty()         ? ""
                                 : "; did you mean " + near + "?") +
         " (`perigee --help` lists commands)";
}

int dispatch(int argc, char **argv) {
  grader::Console console = grader::Console::standard();
  grader::Context context{program_path(), "", console};

  CLI::App app{"Perigee: Lua scripts on a C++ engine, measured and graded.", "perigee"};
  app.set_version_flag("--version", std::string("perigee ") + pg_version());
  app.set_help_flag("-h,--help", "Show this help");
  app.footer(std::string("Examples:\n"
                         "  perigee list                      which exercises there are\n"
                         "  perigee start arrays/pairwise     put one into this folder\n"
                         "  perigee check arrays/pairwise     grade your solution of it\n"
                         "  perigee grade class --out report  grade a class\n\n") +
             exit_codes);
  app.require_subcommand(0, 1);
  app.get_formatter()->column_width(34);
  std::function<int()> action;
  auto exercises_option = [&](CLI::App *command) {
    command->add_option("--exercises", context.exercises, "Folder of exercises (also: $PERIGEE_EXERCISES)")
        ->type_name("DIR");
  };

  cli::RunOptions run;
  CLI::App *command = app.add_subcommand("run", "Run a Lua script");
  command->add_option("file", run.file, "The script; what follows it is the script's (`...` and the table arg)")
      ->required()
      ->type_name("FILE [ARGUMENTS...]");
  command->add_flag("--trusted", run.trusted, "Give the script all of Lua (files, processes, ffi), as demos need");
  command->add_flag("--jit-off", run.jit_off, "Interpret only: see what the JIT compiler is worth");
  const auto memory_limit = [](const std::string &text) { // CLI11's own check words its refusal with 300 digits
    double mib = 0;
    return CLI::detail::lexical_cast(text, mib) && mib > 0 && mib <= 1 << 24
               ? std::string()
               : "a number of MiB above 0 is expected, not " + text;
  };
  command->add_option("--memory", run.memory_mib, "Memory the script may use, in MiB")
      ->type_name("MIB")
      ->check(memory_limit);
  // What `perigee mpirun` starts.
  command->add_flag("--mpi-rank", run.mpi_rank)->group("");
  command->add_flag("--call", run.call)->group("");
  command->add_option("--script-root", run.root)->group("");
  command->footer("Examples:\n  perigee run walk.lua\n  perigee run --jit-off walk.lua 1000 fast   (the script's own "
                  "arguments follow its name)");
  command->callback([&] { action = [&] { return cli::run(run); }; });

  cli::ProfileOptions profile;
  command = app.add_subcommand("profile", "Show where a Lua script's time goes");
  command->add_option("file", profile.script.file, "The script; what follows it is the script's")
      ->required()
      ->type_name("FILE [ARGUMENTS...]");
  CLI::App *kinds = command->add_option_group("Kinds", "One at most:");
  kinds->add_flag("--sample", profile.sample, "Sample with the JIT compiler on: lowest cost, call tree");
  CLI::Option *lines =
      kinds->add_flag("--lines", profile.lines, "Count and time every line, with the JIT compiler off");
  kinds->add_flag("--jit", profile.jit, "Say what the JIT compiler compiled, and what not and why");
  kinds->add_flag("--memory", profile.memory, "Say which lines allocate what, and what is still held");
  kinds->add_flag("--ops", profile.ops, "Say what each array operation took and what limited it");
  kinds->add_flag("--timeline", profile.timeline, "Record operations and spans; -o x.json is for ui.perfetto.dev");
  command->add_option("--function", profile.functions, "With --lines: only this function (repeatable)")
      ->type_name("NAME")
      ->allow_extra_args(false);
  command->add_flag("--sampled", profile.sampled, "With --lines: by sampling, with the JIT compiler on")->needs(lines);
  command->add_flag("--once", profile.once,
                    "Do not run the script a second time, without the profiler, for its real time");
  command->add_option("--sort", profile.sort, "Order of functions: own, cumulative, calls, per_call, name or defined")
      ->type_name("KEY")
      ->check([](const std::string &text) {
        for (const char *key : {"own", "cumulative", "calls", "per_call", "name", "defined"})
          if (text == key)
            return std::string();
        return "own, cumulative, calls, per_call, name or defined is expected, not " + text;
      });
  command
      ->add_option("-o,--out", profile.out,
                   "Write to a file instead: .svg, .html, .callgrind, .folded, "
                   ".speedscope.json, .txt")
      ->type_name("FILE");
  command->add_option("--format", profile.format, "The file's format, where its name does not say it")
      ->type_name("FORMAT");
  command->add_flag("--trusted", profile.script.trusted, "Give the script all of Lua (files, processes, ffi)");
  command->footer(
      "Without a kind it counts and times every call, with the JIT compiler off. Profiles of calls and lines run the\n"
      "script once more, without the profiler and printing nothing, for its real time (--once: they do not).\n"
      "Examples:\n  perigee profile walk.lua\n  perigee profile --sample -o walk.svg walk.lua\n"
      "  perigee profile --lines --function step walk.lua 1000");
  command->callback([&] {
    if (profile.sample + profile.lines + profile.jit + profile.memory + profile.ops + profile.timeline > 1)
      throw CLI::ValidationError("only one of --sample, --lines, --jit, --memory, --ops and --timeline can be had at a "
                                 "time");
    if (!profile.functions.empty() && !profile.lines)
      throw CLI::ValidationError("--function goes with --lines");
    action = [&] { return cli::profile(profile); };
  });

  cli::MpirunOptions mpirun;
  command = app.add_subcommand("mpirun", "Run a Lua script on several ranks (MPI)");
  command->add_option("file", mpirun.script.file, "The script; what follows it is the script's")
      ->required()
      ->type_name("FILE [ARGUMENTS...]");
  command->add_option("-n", mpirun.ranks, "How many ranks (default: one a core)")
      ->type_name("RANKS")
      ->check([](const std::string &text) {
        int ranks = 0;
        return CLI::detail::lexical_cast(text, ranks) && ranks >= 1 && ranks <= 4096
                   ? std::string()
                   : "a number of ranks from 1 to 4096 is expected, not " + text;
      });
  command->add_option("--host", mpirun.hosts, "Run on these hosts: NAME or NAME:RANKS, by commas")
      ->type_name("HOSTS")
      ->allow_extra_args(false);
  command->add_option("--hostfile", mpirun.hostfile, "Run on the hosts of this file (lines: NAME slots=4)")
      ->type_name("FILE");
  command->add_flag("--oversubscribe", mpirun.oversubscribe,
                    "Let ranks take turns on the cores (so they do where there are more of them than cores)");
  command->add_flag("--no-prefix", mpirun.no_prefix, "Do not write the rank before each line");
  const auto seconds = [](const std::string &text) {
    double value = 0;
    return CLI::detail::lexical_cast(text, value) && value >= 0 && value <= 1e6
               ? std::string()
               : "a number of seconds, or 0 for never, is expected, not " + text;
  };
  command
      ->add_option("--deadlock-after", mpirun.deadlock_after,
                   "When all ranks have waited for so long, say who waits for whom and end (default: 10, 0: never)")
      ->type_name("SECONDS")
      ->check(seconds);
  command->add_option("--timeout", mpirun.timeout, "End the script after so long (default: never)")
      ->type_name("SECONDS")
      ->check(seconds);
  command->add_flag("--trusted", mpirun.script.trusted, "Give the script all of Lua (files, processes, ffi)");
  command->add_flag("--jit-off", mpirun.script.jit_off, "Interpret only");
  command->add_option("--memory", mpirun.script.memory_mib, "Memory that each rank may use, in MiB")
      ->type_name("MIB")
      ->check(memory_limit);
  command->add_flag("--call", mpirun.script.call)->group(""); // mpi.spawn
  command->add_option("--script-root", mpirun.script.root)->group("");
  command->footer(
      "Each line that a rank prints begins with its number. When one fails, its error is shown and all end.\n"
      "Settings of Open MPI's own go into the environment, as OMPI_MCA_btl=tcp,self.\n"
      "Examples:\n  perigee mpirun -n 4 ring.lua\n  perigee mpirun --host node1:4,node2:4 halo.lua 1000");
  command->callback([&] { action = [&] { return cli::mpirun(mpirun, context.program.string()); }; });

  bool fresh = false;
  command = app.add_subcommand("roofline", "Say what this machine can do: bandwidth of each cache, arithmetic");
  command->add_flag("--fresh", fresh, "Measure again (the result is kept in ~/.cache/perigee)");
  command->footer(
      "perigee profile --ops FILE compares a script's operations with it; -o x.svg draws them under the roof.");
  command->callback([&] { action = [&] { return cli::roofline(fresh); }; });

  std::string log_file;
  command = app.add_subcommand("log", "Read what pg.log has written");
  command->require_subcommand(1);
  CLI::App *tree = command->add_subcommand("tree", "Print a log's calls under their callers");
  tree->add_option("file", log_file, "The log")->required()->type_name("FILE");
  command->footer("Example:\n  perigee log tree run.log");
  tree->callback([&] { action = [&] { return cli::log_tree(log_file); }; });

  bool repl_trusted = false;
  command = app.add_subcommand("repl", "Try Lua and Perigee line by line");
  command->add_flag("--trusted", repl_trusted, "Give all of Lua (files, processes, ffi)");
  command->footer("Tab completes names and fields; history is kept in ~/.local/state/perigee/history.\n"
                  "Example:\n  $ perigee repl\n  > pg = require \"perigee\"\n  > pg.array.zeros(3)");
  command->callback([&] { action = [&] { return cli::repl(repl_trusted); }; });

  bool json = false;
  std::string lesson;
  command = app.add_subcommand("list", "List the exercises");
  command->add_option("lesson", lesson, "Only this lesson")->type_name("LESSON");
  command->add_flag("--json", json, "As JSON");
  exercises_option(command);
  command->footer("Examples:\n  perigee list\n  perigee list arrays");
  command->callback([&] { action = [&] { return grader::list_exercises(context, lesson, json); }; });

  std::string id;
  int hints = 0;
  command = app.add_subcommand("show", "Show what an exercise asks for and how it is graded");
  command->add_option("id", id, "Exercise, as in arrays/pairwise")->required()->type_name("ID");
  command->add_option("--hints", hints, "Give the first N hints")->type_name("N")->check([](const std::string &text) {
    int value = 0;
    return CLI::detail::lexical_cast(text, value) && value >= 0 ? std::string()
                                                                : "a number of hints is expected, not " + text;
  });
  exercises_option(command);
  command->footer("Examples:\n  perigee show arrays/pairwise\n  perigee show arrays/pairwise --hints 1");
  command->callback([&] { action = [&] { return grader::show_exercise(context, id, hints); }; });

  std::string folder = ".";
  command =
      app.add_subcommand("start", "Put an exercise into a folder: script to edit, statement, editor configuration");
  command->add_option("id", id, "Exercise, as in arrays/pairwise")->required()->type_name("ID");
  command->add_option("dir", folder, "Folder (default: this one); files in it are never overwritten")->type_name("DIR");
  exercises_option(command);
  command->footer("Examples:\n  perigee start arrays/pairwise\n  perigee start arrays/pairwise ~/course");
  command->callback([&] { action = [&] { return grader::start_exercise(context, id, folder); }; });

  grader::CheckOptions check;
  command = app.add_subcommand("check", "Grade your solution of an exercise");
  command->add_option("id", check.id, "Exercise, as in arrays/pairwise")->required()->type_name("ID");
  command->add_option("file", check.file, "Your script (default: NAME.lua or LESSON/NAME.lua here)")->type_name("FILE");
  command->add_flag("--quick", check.quick, "All cases, but six rounds only of timing: indicative, not a grade");
  command->add_flag("--json", check.json, "As JSON, a result as in results.json");
  exercises_option(command);
  command->footer("Examples:\n  perigee check arrays/pairwise\n  perigee check arrays/pairwise try2.lua --quick");
  command->callback([&] { action = [&] { return grader::check_submission(context, check); }; });

  grader::GradeOptions grade;
  command = app.add_subcommand("grade", "Grade a class");
  command->add_option("dir", grade.folder, "Folder with LEARNER/LESSON/NAME.lua or LEARNER/NAME.lua")
      ->required()
      ->type_name("DIR");
  command->add_option("--out", grade.out, "Folder for report.html, results.csv, results.json and results.sqlite")
      ->required()
      ->type_name("DIR");
  command->add_option("--exercise", grade.exercise, "Only this exercise")->type_name("ID");
  command->add_flag("--json", grade.json, "Print results.json instead of the table");
  command->add_flag("--require-sandbox", grade.require_full_sandbox,
                    "Refuse to grade where the sandbox lacks a protection");
  command->add_flag("--resume", grade.resume,
                    "Keep what earlier runs into --out have found, where nothing has changed");
  exercises_option(command);
  command->footer(
      "Each result is kept as soon as it is there. Ctrl-C stops; what was finished is reported, and --resume goes on.\n"
      "Examples:\n  perigee grade class --out report\n  perigee grade class --out report --exercise arrays/pairwise");
  command->callback([&] { action = [&] { return grader::grade_class(context, grade); }; });

  grader::VerifyOptions verify;
  command = app.add_subcommand("verify", "Prove that exercises tell right from wrong and fast from slow");
  command->add_option("id", verify.id, "Only this exercise")->type_name("ID");
  command->add_flag("--untimed", verify.untimed, "Only what needs no clock: right and wrong, inputs, mutants");
  command->add_flag("--json", verify.json, "As JSON");
  exercises_option(command);
  command->footer("Without an ID all exercises: first what needs no clock, then the speeds.\n"
                  "Examples:\n  perigee verify arrays/pairwise\n  perigee verify --untimed");
  command->callback([&] { action = [&] { return grader::verify_exercises(context, verify); }; });

  bool doctor_json = false;
  command = app.add_subcommand("doctor", "Say what this machine offers and how well it can be measured on");
  command->add_flag("--json", doctor_json, "As JSON");
  command->footer("Example:\n  perigee doctor");
  command->callback([&] { action = [&] { return cli::doctor(doctor_json); }; });

  std::vector<std::string> names;
  for (const CLI::App *sub : app.get_subcommands({}))
    names.push_back(sub->get_name());
  std::string word = first_word(argc, argv);
  if (!word.empty() && word == argv[1] && word == "help") { // `help`, `help check`
    if (argc > 2) {
      std::vector<std::string> of{"--help", argv[2]}; // in reverse, as CLI11 takes them
      if (std::find(names.begin(), names.end(), argv[2]) == names.end())
        throw grader::UsageError(no_command(argv[2], names));
      try {
        app.parse(of);
      } catch (const CLI::Success &help) {
        return app.exit(help, console.out, console.err);
      }
    }
    console.out << app.help();
    return 0;
  }
  if (!word.empty() && std::find(names.begin(), names.end(), word) == names.end())
    throw grader::UsageError(argv[1][0] == '-' ? std::string("write options after the command: perigee COMMAND ") +
                                                     argv[1] + " ... (`perigee --help` lists commands)"
                                               : no_command(word, names));
  const int own = own_arguments(argc, argv);
  for (int i = 2; i < own; ++i)
    if (word == "mpirun" && std::string_view(argv[i]) == "-np") // as many write it, and CLI11 would read -n p
      argv[i][2] = 0;
  run.arguments.assign(argv + own, argv + argc);
  profile.script.arguments = mpirun.script.arguments = run.arguments;
  try {
    app.parse(own, argv);
  } catch (const CLI::Success &help) { // --help or --version
    return app.exit(help, console.out, console.err);
  } catch (const CLI::ParseError &error) {
    std::string which = app.get_subcommands().empty() ? "" : app.get_subcommands()[0]->get_name() + " ";
    throw grader::UsageError((which.empty() ? "" : which.substr(0, which.size() - 1) + ": ") + error.what() +
                             " (`perigee " + which + "--help` explains)");
  }
  if (!action) {
    console.out << app.help();
    return 0;
  }
  return action();
}

} // namespace

int main(int argc, char **argv) {
  try {
    int code = dispatch(argc, argv);
    std::cout.flush();
    if (!std::cout && code == 0) {
      std::fputs("perigee: cannot write standard output\n", stderr);
      return 3;
    }
    return code;
  } catch (const grader::UsageError &error) {
    std::cout.flush();
    std::fprintf(stderr, "perigee: %s\n", error.what());
    return 2;
  } catch (const grader::ExerciseError &error) {
    std::cout.flush();
    std::fprintf(stderr, "perigee: invalid exercise: %s\n", error.what());
    return 2;
  } catch (const grader::InfrastructureError &error) {
    std::cout.flush();
    std::fprintf(stderr, "perigee: this machine cannot grade now: %s\n(`perigee doctor` says what it lacks)\n",
                 error.what());
    return 3;
  } catch (const std::exception &error) {
    std::cout.flush();
    std::fprintf(stderr, "perigee: this is a bug in Perigee, please report it: %s\n", error.what());
    return 3;
  }
}
