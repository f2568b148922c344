// The checked simulator of a GPU, without Lua: what it computes, counts and finds. Races are compared with all pairs of
// accesses; how problems are worded is tested by tests/lua/gpu_broken.lua.
#include "array_helpers.hpp"

#include "core/memory.hpp"
#include "core/status.hpp"
#include "gpu/sim_memory.hpp"
#include "kernel/typing.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <set>

using namespace perigee;
using sim::Problem;

namespace {

sim::Program program_of(const std::string &text, std::vector<kernel::ArgumentType> arguments) {
  kernel::Source source;
  source.chunk = "text";
  auto tree = std::make_shared<kernel::Chunk>(kernel::parse("local f = " + text));
  int count = 0;
  int last = 1;
  for (char c : text)
    last += c == '\n';
  source.body = kernel::find_function(*tree, 1, last, &count);
  REQUIRE(source.body);
  source.tree = tree;
  for (const char *known : {"gpu", "math", "bit"}) {
    kernel::Binding &binding = source.bindings[known];
    binding.what = kernel::Binding::What::builtin;
    binding.text = known;
  }
  return sim::compile(kernel::grid(source, arguments));
}

kernel::ArgumentType type_of(const array::Array &a) {
  kernel::ArgumentType type;
  type.is_array = true;
  type.kind = kernel::Kind::unknown;
  type.dtype = a->_dtype;
  type.ndim = a->_ndim;
  type.contiguous = true;
  return type;
}

sim::Result run(const std::string &text, const sim::Launch &launch, const std::vector<const array::Array *> &arrays) {
  std::vector<kernel::ArgumentType> types;
  std::vector<void *> given;
  for (const array::Array *a : arrays) {
    types.push_back(type_of(*a));
    given.push_back(const_cast<pg_array *>(a->get()));
  }
  return sim::run(program_of(text, types), launch, given.data());
}

sim::Launch launch_of(std::int64_t grid, std::int32_t block) {
  sim::Launch launch;
  launch.grid[0] = grid;
  launch.block[0] = block;
  launch.check_coverage = false;
  return launch;
}

} // namespace

TEST_CASE("Rounds of banks are what the distinct words of a bank come to", "[simulator]") {
  std::mt19937 random(1);
  for (int size : {1, 2, 4, 8, 16})
    for (int n = 0; n < 300; ++n) {
      std::int64_t bytes[sim::lanes];
      const std::uint32_t mask = n % 3 == 0 ? ~0u : std::uint32_t(random());
      const int stride = 1 + int(random() % 40), spread = 1 + int(random() % 64);
      for (int l = 0; l < sim::lanes; ++l)
        bytes[l] = std::int64_t(n % 2 == 0 ? l * stride : int(random() % unsigned(spread))) * size;
      const int words = size > 4 ? size / 4 : 1, group = sim::lanes / words;
      int taken = 0, ideal = 0;
      for (int first = 0; first < sim::lanes; first += group) {
        std::set<std::int64_t> banks[32];
        bool any = false;
        for (int l = first; l < first + group; ++l)
          for (int w = 0; mask >> l & 1 && w < words; ++w) {
            const std::int64_t word = bytes[l] / 4 + w;
            banks[word % 32].insert(word);
            any = true;
          }
        std::size_t most = 0;
        for (const auto &bank : banks)
          most = std::max(most, bank.size());
        taken += int(most);
        ideal += any;
      }
      const sim::Rounds rounds = sim::bank_rounds(bytes, mask, size);
      CHECK(rounds.taken == taken);
      CHECK(rounds.ideal == ideal);
    }
}

TEST_CASE("Different values are counted once, in any order", "[simulator]") {
  std::mt19937 random(2);
  for (int n = 0; n < 300; ++n) {
    sim::Distinct distinct;
    std::set<std::int64_t> known;
    for (int l = 0; l < sim::lanes; ++l) {
      const std::int64_t value = n % 2 == 0 ? l / 3 : std::int64_t(random() % 20) - 10;
      CHECK(distinct.add(value) == known.insert(value).second);
    }
    CHECK(distinct.count == int(known.size()));
  }
}

TEST_CASE("A launch computes and counts", "[simulator]") {
  auto x = array::make(PG_FLOAT32, {1000}), y = array::make(PG_FLOAT32, {1000});
  array::fill(x, 3);
  const char *text = R"(function(x, y)
    local i = gpu.grid(1)
    if i <= #x then
      y[i] = 2 * x[i] + 1
    end
  end)";
  sim::Launch launch = launch_of(4, 256);
  launch.check_coverage = true;
  const sim::Result result = run(text, launch, {&x, &y});
  CHECK(result.problems.empty());
  for (std::int64_t i = 0; i < 1000; ++i)
    CHECK(array::get(*y, i) == 2 * array::get(*x, i) + 1);
  CHECK(result.threads == 1024);
  CHECK(result.counts.load_requests == 32);
  CHECK(result.counts.load_sectors == 125);
  CHECK(result.counts.store_bytes == 4000);
  CHECK(result.counts.footprint_sectors == 250);
  CHECK(result.counts.divergent == 1);
  // Blocks on several threads: the same counts.
  auto u = array::make(PG_FLOAT32, {100000}), v = array::make(PG_FLOAT32, {100000});
  const sim::Result large = run(text, launch_of(391, 256), {&u, &v});
  CHECK(large.counts.load_sectors == 12500);
  CHECK(large.counts.store_requests == 3125);
}

TEST_CASE("A race is reported where two accesses race, and else none", "[simulator]") {
  // Threads read (1), write (2) or update by an atomic (3) an element, as a plan says, with barriers of the block (1)
  // or of warps (2) between.
  const char *text = R"(function(plan, where, barriers, cells, out)
    local i = gpu.grid(1)
    local sum = 0
    for k = 1, #barriers do
      if plan[k][i] == 1 then
        sum = sum + cells[where[k][i]]
      elseif plan[k][i] == 2 then
        cells[where[k][i]] = 1000 * i + k
      elseif plan[k][i] == 3 then
        gpu.atomic.add(cells, where[k][i], 100000000)
      end
      if barriers[k] == 1 then
        gpu.sync()
      elseif barriers[k] == 2 then
        gpu.syncwarp()
      end
    end
    out[i] = sum
  end)";
  constexpr int blocks = 3, block = 64, threads = blocks * block, elements = 2;
  int racy = 0;
  for (int seed = 1; seed <= 400; ++seed) {
    std::mt19937 random(static_cast<unsigned>(seed));
    const int phases = 2 + int(random() % 7), accesses = 1 + int(random() % 7);
    auto plan = array::make(PG_UINT8, {phases, threads}), where = array::make(PG_UINT8, {phases, threads});
    auto barriers = array::make(PG_UINT8, {phases}), cells = array::make(PG_INT64, {elements}),
         out = array::make(PG_INT64, {threads});
    for (std::int64_t k = 0; k < phases; ++k)
      array::put(*barriers, k, double(random() % 3));
    struct Access {
      int phase, thread, what, element;
    };
    std::vector<Access> list;
    const int near = seed % 3 == 0 ? 4 : seed % 3 == 1 ? block : threads; // how far apart the threads are
    for (int n = 0; n < accesses; ++n) {
      const Access a{int(random() % unsigned(phases)), int(random() % unsigned(near)), 1 + int(random() % 3),
                     1 + int(random() % elements)};
      const std::int64_t at = std::int64_t(a.phase) * threads + a.thread;
      if (array::get(*plan, at) != 0)
        continue;
      array::put(*plan, at, a.what);
      array::put(*where, at, a.element);
      list.push_back(a);
    }
    auto ordered = [&](const Access &a, const Access &b) { // a.phase <= b.phase
      if (a.thread / block != b.thread / block)
        return false;
      for (int k = a.phase; k < b.phase; ++k)
        if (array::get(*barriers, k) == 1 || (array::get(*barriers, k) == 2 && a.thread / 32 == b.thread / 32))
          return true;
      return false;
    };
    bool race = false;
    for (const Access &a : list)
      for (const Access &b : list)
        race |= a.phase <= b.phase && a.thread != b.thread && a.element == b.element && !(a.what == 1 && b.what == 1) &&
                !(a.what == 3 && b.what == 3) && !ordered(a, b);
    const sim::Result result = run(text, launch_of(blocks, block), {&plan, &where, &barriers, &cells, &out});
    INFO("seed " << seed);
    CHECK(result.problems.empty() == !race);
    for (const sim::Diagnosis &d : result.problems)
      CHECK(d.problem == Problem::race_global);
    racy += race;
  }
  CHECK(racy > 50);
  CHECK(racy < 350);
}

TEST_CASE("Barriers beyond a thousand are not taken for the first", "[simulator]") {
  auto cells = array::make(PG_INT64, {64});
  const char *text = R"(function(cells)
    local t = gpu.threadIdx.x
    local first = cells[1]
    for k = 1, 1024 do
      gpu.syncwarp()
    end
    for k = 1, 4096 do
      gpu.sync()
    end
    cells[65 - t] = first + t
  end)";
  CHECK(run(text, launch_of(1, 64), {&cells}).problems.empty());
}

TEST_CASE("What is kept about memory counts as memory", "[simulator]") {
  auto x = array::make(PG_UINT8, {1 << 20});
  const char *text = R"(function(x)
    local i = gpu.grid(1)
    x[i] = 1
  end)";
  const std::int64_t account = core::open_account(16 << 20);
  {
    const core::AccountScope scope(account);
    CHECK_THROWS_WITH(run(text, launch_of(1, 32), {&x}),
                      Catch::Contains("keeps 32 MiB about the arrays of this launch") &&
                          Catch::Contains("memory limit reached") && Catch::Contains("gpu.mode(\"fast\")"));
    auto few = array::make(PG_UINT8, {1 << 18});
    CHECK(run(text, launch_of(1, 32), {&few}).problems.empty());
    CHECK(core::account_outside(account) == 1 << 18);
  }
  core::close_account(account);
}
