// Submissions on ranks of MPI, in one sandbox: who gets the inputs, whose results count, whose failure is told, and
// that nothing is left of them.
#include "grader/catalogue.hpp"
#include "grader/grade.hpp"
#include "grader/worker.hpp"
#include "ranks_here.hpp"
#include "temporary_exercise.hpp"

#include "core/wire.hpp"

#include <catch2/catch.hpp>

#include <dirent.h>
#include <fstream>
#include <sched.h>
#include <set>
#include <unistd.h>

using namespace perigee;
using namespace perigee::grader;

namespace {

// Skips the test where MPI or namespaces are missing.
#define NEEDS_RANKS()                                                                                                  \
  if (const std::string reason = no_ranks_here(); !reason.empty()) {                                                   \
    WARN("skipped: " << reason);                                                                                       \
    return;                                                                                                            \
  }

Exercise exercise(int ranks) {
  Exercise e;
  e.id = "test/ranks";
  e.modules = {"mpi", "array", "timer"};
  e.needs.ranks = ranks;
  e.limits.call_seconds = 20.0;
  e.limits.memory_bytes = 64 << 20;
  e.cases = {{"only", "1", 1, ranks}};
  return e;
}

WorkerOptions on(int ranks) {
  WorkerOptions options;
  options.ranks = ranks;
  options.cpus = {};
  return options;
}

Bytes numbers(std::vector<double> list) {
  wire::Value value;
  value.kind = wire::Kind::table;
  for (double x : list) {
    wire::Value number;
    number.kind = wire::Kind::number;
    number.number = x;
    value.list.push_back(number);
  }
  return wire::write(value);
}

double number_in(const Bytes &bytes) {
  wire::Value value;
  std::string reason;
  REQUIRE(wire::parse(bytes, {}, false, value, reason));
  REQUIRE(value.kind == wire::Kind::number);
  return value.number;
}

std::string name_of(const std::string &pid) {
  std::ifstream in("/proc/" + pid + "/comm");
  std::string name;
  std::getline(in, name);
  return name;
}

// Processes of mpirun or ranks that belong to this program, by their numbers.
std::vector<std::string> family() {
  std::vector<std::string> found;
  const pid_t self = getpid();
  if (DIR *proc = opendir("/proc")) {
    while (const dirent *entry = readdir(proc)) {
      std::string pid = entry->d_name;
      if (pid[0] < '0' || pid[0] > '9')
        continue;
      const std::string this_one = pid;
      const std::string name = name_of(pid);
      if (name.rfind("orterun", 0) != 0 && name.rfind("mpirun", 0) != 0 && name.rfind("perigee-worker", 0) != 0)
        continue;
      for (int up = 0; up < 8 && pid != "0" && pid != "1"; ++up) {
        std::ifstream in("/proc/" + pid + "/stat");
        std::string text((std::istreambuf_iterator<char>(in)), {});
        const std::size_t end = text.rfind(')');
        if (end == std::string::npos)
          break;
        char state;
        int parent = 0;
        std::sscanf(text.c_str() + end + 1, " %c %d", &state, &parent);
        if (parent == self) {
          found.push_back(this_one);
          break;
        }
        pid = std::to_string(parent);
      }
    }
    closedir(proc);
  }
  return found;
}

int left_over() {
  return static_cast<int>(family().size());
}

// The cores that ranks may use, one text for each: "0", "0-1".
std::multiset<std::string> cores_of_ranks() {
  std::multiset<std::string> cores;
  for (const std::string &pid : family()) {
    std::ifstream command("/proc/" + pid + "/cmdline"), status("/proc/" + pid + "/status");
    const std::string line((std::istreambuf_iterator<char>(command)), {});
    if (name_of(pid).rfind("perigee-worker", 0) != 0 || line.find(std::string("\0rank\0", 6)) == std::string::npos)
      continue;
    for (std::string text; std::getline(status, text);)
      if (const std::string key = "Cpus_allowed_list:\t"; text.rfind(key, 0) == 0)
        cores.insert(text.substr(key.size()));
  }
  return cores;
}

} // namespace

TEST_CASE("ranks: inputs reach rank 0, all take part, rank 0's results count", "[ranks]") {
  NEEDS_RANKS();
  const char *script = R"(
local mpi = require "perigee".mpi
local world = mpi.world
return {
  solve = function(...)
    local x, y = ...
    local given = world:gather(select("#", ...), 0)
    local sum = world:allreduce(world.rank, "sum")
    if world.rank > 0 then return "nobody asks for this" end
    for rank = 2, #given do if given[rank] ~= 0 then error "inputs reached another rank" end end
    return 1000 * x + 100 * y + 10 * #given + sum
  end,
}
)";
  for (int ranks : {1, 3}) {
    Worker worker(exercise(5), script, "sum.lua", on(ranks));
    INFO(worker.load_error());
    REQUIRE(worker.load_kind() == FailureKind::none);
    for (int turn = 0; turn < 3; ++turn) {
      const Slice slice = worker.run({numbers({1, 2}), numbers({3, double(turn)})});
      INFO(slice.failure);
      REQUIRE(slice.ok());
      REQUIRE(slice.results.size() == 2);
      const double base = 10 * ranks + (ranks == 3 ? 3 : 0);
      CHECK(number_in(slice.results[0]) == 1200 + base);
      CHECK(number_in(slice.results[1]) == 3000 + 100 * turn + base);
      CHECK(slice.wall > 0);
    }
  }
  CHECK(left_over() == 0);
}

TEST_CASE("ranks: each gets a core of its own, another one after a turn", "[ranks]") {
  NEEDS_RANKS();
  cpu_set_t set;
  REQUIRE(sched_getaffinity(getppid(), sizeof set, &set) == 0); // a grading before may have confined ourselves
  WorkerOptions options = on(2);
  for (int cpu = 0; cpu < CPU_SETSIZE && options.cpus.size() < 2; ++cpu)
    if (CPU_ISSET(cpu, &set))
      options.cpus.push_back(cpu);
  if (options.cpus.size() < 2) {
    WARN("skipped: one core");
    return;
  }
  Worker worker(exercise(2), "return { solve = function(x) return x and x + 1 end }", "one.lua", options);
  REQUIRE(worker.load_kind() == FailureKind::none);
  const std::string a = std::to_string(options.cpus[0]), b = std::to_string(options.cpus[1]);
  CHECK(cores_of_ranks().count(a) == 0);
  for (std::size_t shift = 0; shift < 3; ++shift) {
    worker.spread(shift);
    CHECK(cores_of_ranks() == std::multiset<std::string>{a, b});
    const Slice slice = worker.run({numbers({1})});
    INFO(slice.failure);
    REQUIRE(slice.ok());
    CHECK(number_in(slice.results[0]) == 2);
  }
  worker.kill();
  worker.spread(0); // harmless
  CHECK_FALSE(worker.run({numbers({1})}).ok());
}

TEST_CASE("ranks: the rank that fails is named, whatever the others wait for", "[ranks]") {
  NEEDS_RANKS();
  Worker worker(exercise(3), R"(
local world = require "perigee".mpi.world
return {
  solve = function()
    if world.rank == 2 then error "no more" end
    world:barrier()
  end,
}
)",
                "fails.lua", on(3));
  REQUIRE(worker.load_kind() == FailureKind::none);
  const Slice slice = worker.run({numbers({1})});
  CHECK(slice.kind == FailureKind::script_error);
  CHECK_THAT(slice.failure, Catch::StartsWith("rank 2: fails.lua:5: no more"));
  CHECK(!worker.usable());
}

TEST_CASE("ranks: a script that does not load says so once", "[ranks]") {
  NEEDS_RANKS();
  Worker worker(exercise(2), "return {", "broken.lua", on(2));
  CHECK(worker.load_kind() == FailureKind::load_error);
  CHECK_THAT(worker.load_error(), Catch::Contains("broken.lua:1:"));
}

TEST_CASE("ranks: who waits for whom is told, long before a call takes too long", "[ranks]") {
  NEEDS_RANKS();
  Exercise e = exercise(2);
  e.limits.call_seconds = 300.0;
  const auto failure = [&](const char *call) {
    Worker worker(e,
                  std::string("local world = require \"perigee\".mpi.world\n"
                              "return { solve = function()\n") +
                      call + "\nend }\n",
                  "waits.lua", on(2));
    REQUIRE(worker.load_kind() == FailureKind::none);
    const Slice slice = worker.run({numbers({1})});
    CHECK(slice.kind == FailureKind::time_limit);
    return slice.failure;
  };
  CHECK_THAT(failure("local got = world:recv(1 - world.rank) return got"),
             Catch::StartsWith("the ranks wait for each other: no rank can go on: rank 0 waits to receive from 1 "
                               "(waits.lua:3), rank 1 waits to receive from 0 (waits.lua:3): nobody sends"));
  // A tag that nobody sends, and a rank that has returned.
  CHECK_THAT(
      failure("if world.rank == 0 then world:send(1, 1, 8) return 1 end local got = world:recv(0, 7) return got"),
      Catch::Contains("rank 1 waits to receive from 0 (waits.lua:3), but rank 0 has returned: nobody sends"));
}

TEST_CASE("ranks: a call that takes too long says what the ranks do", "[ranks]") {
  NEEDS_RANKS();
  Exercise e = exercise(2);
  e.limits.call_seconds = 3.0;
  Worker worker(e, R"(
local world = require "perigee".mpi.world
return {
  solve = function()
    while world.rank == 0 do end
    local got = world:recv(0)
    return got
  end,
}
)",
                "endless.lua", on(2));
  REQUIRE(worker.load_kind() == FailureKind::none);
  const Slice slice = worker.run({numbers({1})});
  CHECK(slice.kind == FailureKind::time_limit);
  CHECK_THAT(slice.failure, Catch::StartsWith("a call took longer than 3 s") && Catch::Contains("rank 0 computes") &&
                                Catch::Contains("rank 1 waits to receive from 0, world (endless.lua:6)"));
}

TEST_CASE("ranks: timed cases get a rank a core, and what one core cannot show is not asked for",
          "[ranks][catalogue]") {
  Exercise e = exercise(5);
  e.cases = {{"small", "1", 1, 5}, {"large", "1", 1, 4}};
  Tier speedup;
  speedup.name = "2.5x one rank";
  speedup.against = Against::naive;
  speedup.ratio = 2.5;
  speedup.cores = 4;
  speedup.points = 3;
  speedup.case_name = "large";
  Tier near = speedup;
  near.name = "near the reference";
  near.cores = 1;
  e.tiers = {speedup, near};

  const Exercise four = scaled_to(e, 4);
  CHECK(four.cases[1].ranks == 4);
  CHECK(four.notes.empty());

  const Exercise two = scaled_to(e, 2);
  CHECK(two.cases[0].ranks == 5); // not timed
  CHECK(two.cases[1].ranks == 2);
  CHECK(two.tiers[0].ratio == 1.25);
  REQUIRE(two.notes.size() == 1);
  CHECK(two.notes[0] == "case 'large' is for 4 ranks, and ran with 2: this machine has 2 cores");

  const Exercise one = scaled_to(e, 1);
  CHECK(one.cases[1].ranks == 2);
  REQUIRE(one.tiers.size() == 1);
  CHECK(one.tiers[0].name == "near the reference");
  REQUIRE(one.notes.size() == 2);
  CHECK_THAT(one.notes[1], Catch::Contains("not measurable here") && Catch::Contains("2.5x one rank"));
}

TEST_CASE("ranks: a submission is graded on every number of ranks that cases ask for", "[ranks]") {
  NEEDS_RANKS();
  TemporaryExercise temporary;
  Exercise &e = temporary.exercise;
  e.modules = {"mpi", "array"};
  e.needs.ranks = 3;
  e.limits.call_seconds = 20.0;
  e.cases = {{"alone", "10", 1, 1}, {"three", "20", 1, 3}};
  const char *right = R"(
local world = require "perigee".mpi.world
return { solve = function(seed, n)
  local parts = world:gather(world.rank, 0)
  if world.rank > 0 then return end
  return seed + #parts * n
end }
)";
  temporary.write("solutions/reference.lua", right);
  Session session({});
  const Result result = grade_submission(e, {"", temporary.write("right.lua", right)}, session);
  INFO(result.summary << "\n" << result.detail);
  CHECK(result.verdict == Verdict::passed);
  CHECK(result.clock == "wall time");

  const Result wrong = grade_submission(e, {"", temporary.write("wrong.lua", R"(
local world = require "perigee".mpi.world
return { solve = function(seed, n)
  if world.rank > 0 then return end
  return seed + n
end }
)")},
                                        session);
  CHECK(wrong.verdict == Verdict::wrong);
  CHECK_THAT(wrong.summary, Catch::Contains("case 'three'"));
  CHECK(left_over() == 0);
}
