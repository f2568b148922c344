#include "verify.hpp"

#include "core/wire.hpp"
#include "judge.hpp"
#include "perigee/perigee.h"
#include "sandbox.hpp"
#include "text.hpp"
#include "worker.hpp"

#include <lua.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <sstream>

namespace perigee::grader {

namespace fs = std::filesystem;
using State = Finding::State;

namespace {

constexpr size_t draws = 8;           // of inputs a case
constexpr double coding_share = 0.10; // at most, of the reference's time
constexpr const char *mutants[] = {"drop_last", "off_by_one", "wrong_sign"};
constexpr const char *starter_claim = "the starter does not pass";

Key random_key() {
  static std::random_device device;
  return {device(), device(), device(), device()};
}

std::string read_text(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool right(Verdict verdict) {
  return verdict == Verdict::passed || verdict == Verdict::too_slow;
}

// What the inputs of one case look like, and the right results for them.
struct Drawn {
  const Case *c;
  std::vector<Bytes> inputs, results;
};

} // namespace

class Verification::Impl {
 public:
  Impl(const Exercise &exercise, Session &session, std::function<void(const Finding &)> report,
       std::function<void(const std::string &)> begin)
      : exercise_(exercise), session_(session), report_(std::move(report)), begin_(std::move(begin)) {
    std::erase_if(untimed_.tiers, [](const Tier &tier) { return !tier.counted() || tier.on_gpu(); });
  }

  void rightness() {
    starter();
    for (const fs::path &file : solutions())
      solution(file);
    try {
      begin_("inputs and results");
      draw();
      inputs_differ();
      results_differ();
      begin_("mutants");
      for (const char *mutant : mutants)
        try_mutant(mutant);
      if (has_timed_tiers())
        coding_seconds_ = coding();
    } catch (const InfrastructureError &error) {
      add("inputs, results and mutants", State::open, first_line(error.what()));
    }
    drawn_.clear();
    judge_.reset();
  }

  bool failed() const { return failed_; }
  bool has_timed_tiers() const { return exercise_.tiers.size() > untimed_.tiers.size(); }

  void speed() {
    if (starter_is_right_) {
      const Result starter = grade(exercise_.folder / "starter.lua", exercise_);
      if (!undecided(starter_claim, starter))
        add(starter_claim, starter.verdict == Verdict::passed ? State::failed : State::proved, describe(starter));
    }
    if (fs::exists(exercise_.solutions / "naive.lua"))
      naive_is_slow(grade(exercise_.solutions / "naive.lua", exercise_));
    // Asked for more, so that the measurement goes on until that much is certain.
    Exercise stricter = exercise_;
    for (Tier &tier : stricter.tiers)
      if (!tier.counted() || tier.on_gpu()) // counts are exact
        tier.ratio *= reference_margin;
    Result reference = grade(exercise_.solutions / "reference.lua", stricter);
    for (TierResult &tier : reference.tiers)
      if (!tier.tier.counted() || tier.tier.on_gpu())
        tier.tier.ratio /= reference_margin;
    reference_is_fast(reference);
    coding_is_short(reference.reference_seconds);
  }

 private:
  void add(const std::string &claim, State state, const std::string &message) {
    failed_ = failed_ || state == State::failed;
    report_({claim, state, message});
  }

  // The scripts in solutions/: naive.lua, variants by name, reference.lua.
  std::vector<fs::path> solutions() {
    std::vector<fs::path> files;
    for (const fs::directory_entry &entry : fs::directory_iterator(exercise_.solutions)) {
      const std::string name = entry.path().filename().string();
      if (entry.path().extension() == ".lua" && name != "naive.lua" && name != "reference.lua")
        files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    if (files.empty())
      add("there is a variant to learn from", State::failed,
          "besides naive.lua and reference.lua, " + exercise_.solutions.string() + " holds no script");
    // Without tiers there is nothing to be slow at, and naive.lua may be what is naive to believe.
    if (const fs::path naive = exercise_.solutions / "naive.lua"; fs::exists(naive) && !exercise_.tiers.empty())
      files.insert(files.begin(), naive);
    files.push_back(exercise_.solutions / "reference.lua");
    return files;
  }

  Result grade(const fs::path &file, const Exercise &exercise) {
    begin_(file.filename().string());
    return grade_submission(exercise, {"", file}, session_);
  }

  // Reports a result without a score and returns true.
  bool undecided(const std::string &claim, const Result &result) {
    if (result.has_score())
      return false;
    add(claim, State::open, std::string(name_of(result.verdict)) + ": " + first_line(result.summary));
    return true;
  }

  static std::string describe(const Result &result) {
    std::string text(name_of(result.verdict));
    return right(result.verdict) || result.summary.empty() ? text : text + ": " + first_line(result.summary);
  }

  static std::string speedups(const Result &result) {
    std::string text;
    for (const TierResult &tier : result.tiers)
      if (tier.state != TierState::not_measured)
        text += (text.empty() ? "" : ", ") + ratio_text(tier.speedup.mid) + "x " +
                (tier.tier.against == Against::naive ? "naive" : "reference") + " of the " +
                ratio_text(tier.tier.ratio) + "x asked for";
    return text;
  }

  // A starter that is right leaves its claim to the timing.
  void starter() {
    const Result result = grade(exercise_.folder / "starter.lua", untimed_);
    starter_is_right_ = result.verdict == Verdict::passed;
    if (undecided(starter_claim, result) || (starter_is_right_ && has_timed_tiers()))
      return;
    add(starter_claim, starter_is_right_ ? State::failed : State::proved, describe(result));
  }

  void solution(const fs::path &file) {
    const std::string name = file.filename().string(), claim = name + " is right";
    const Result result = grade(file, untimed_);
    if (undecided(claim, result))
      return;
    add(claim, right(result.verdict) ? State::proved : State::failed, describe(result));
    if (!right(result.verdict) || exercise_.tiers.empty() || has_timed_tiers())
      return;
    // Counts are exact, and known without a clock.
    if (name == "naive.lua")
      naive_is_slow(result);
    else if (name == "reference.lua")
      reference_is_fast(result);
  }

  void naive_is_slow(const Result &result) {
    const char *claim = "naive.lua is too slow";
    if (undecided(claim, result))
      return;
    for (const TierResult &tier : result.tiers)
      if (tier.state != TierState::missed && right(result.verdict)) {
        add(claim, State::failed, "it reaches the tier \"" + tier.tier.name + "\": " + speedups(result));
        return;
      }
    add(claim, result.verdict == Verdict::too_slow ? State::proved : State::failed,
        result.verdict == Verdict::too_slow ? speedups(result) : describe(result));
  }

  void reference_is_fast(const Result &result) {
    const char *claim = "reference.lua passes with 25% to spare";
    if (undecided(claim, result))
      return;
    for (const TierResult &tier : result.tiers)
      if (right(result.verdict) && tier.state != TierState::granted) {
        add(claim, State::failed,
            "the tier \"" + tier.tier.name + "\" asks for " + ratio_text(tier.tier.ratio) + "x; it has " +
                ratio_text(tier.speedup.mid) + "x (" + ratio_text(tier.speedup.low) + " to " +
                ratio_text(tier.speedup.high) + ")");
        return;
      }
    add(claim, result.verdict == Verdict::passed ? State::proved : State::failed,
        result.verdict == Verdict::passed ? speedups(result) : describe(result));
  }

  // Inputs of every case and the reference's results for them.
  void draw() {
    judge_ = std::make_unique<Judge>(exercise_);
    WorkerOptions options;
    options.output_bytes = int64_t{1} << 32;
    const std::string reference = read_text(exercise_.solutions / "reference.lua");
    for (const Case &c : exercise_.cases) {
      options.ranks = c.ranks;
      std::optional<Worker> worker;
      Drawn drawn{&c, {}, {}};
      for (size_t i = 0; i < draws; ++i) {
        Key key = random_key();
        drawn.inputs.push_back(judge_->inputs(std::span(&key, 1), c).front());
        // One call a worker, as a reference may keep what it likes; but ranks take long to start.
        if (!worker || !exercise_.uses_mpi() || exercise_.fresh_state)
          worker.emplace(exercise_, reference, "reference.lua", options);
        if (worker->load_kind() != FailureKind::none)
          throw InfrastructureError("reference.lua does not load: " + worker->load_error());
        Slice slice = worker->run({drawn.inputs.back()});
        if (!slice.ok())
          throw InfrastructureError("reference.lua fails on case \"" + c.name + "\": " + slice.failure);
        drawn.results.push_back(std::move(slice.results.front()));
      }
      drawn_.push_back(std::move(drawn));
    }
  }

  static std::string_view view(const Bytes &blob) { return {reinterpret_cast<const char *>(blob.data()), blob.size()}; }

  static size_t distinct(const std::vector<Bytes> &blobs) {
    std::set<std::string_view> set;
    for (const Bytes &blob : blobs)
      set.insert(view(blob));
    return set.size();
  }

  bool timed(const Case &c) const {
    return std::any_of(exercise_.tiers.begin(), exercise_.tiers.end(),
                       [&](const Tier &tier) { return tier.case_name == c.name; });
  }

  // A timed case may not repeat itself: the result of one call would serve another. Other cases may be fixed edges.
  void inputs_differ() {
    const char *claim = "inputs differ by seed";
    std::string fixed;
    size_t varying = 0;
    for (const Drawn &drawn : drawn_) {
      size_t count = distinct(drawn.inputs);
      varying += count > 1;
      if (count == 1)
        fixed += (fixed.empty() ? "; fixed: \"" : ", \"") + drawn.c->name + "\"";
      if (timed(*drawn.c) && count < (exercise_.fresh_state ? 2 : draws)) {
        add(claim, State::failed,
            "case \"" + drawn.c->name + "\" is timed, and " + std::to_string(draws) + " seeds gave " +
                std::to_string(count) + (count == 1 ? " input" : " inputs") +
                (count > 1 ? "; so small a domain needs state = \"fresh\"" : ""));
        return;
      }
    }
    add(claim, varying > 0 ? State::proved : State::failed,
        std::to_string(varying) + " of " + std::to_string(drawn_.size()) + " cases vary" + fixed);
  }

  void results_differ() {
    const char *claim = "results are not constant";
    std::string constant;
    std::set<std::string_view> all;
    for (const Drawn &drawn : drawn_) {
      for (const Bytes &result : drawn.results)
        all.insert(view(result));
      if (timed(*drawn.c) && distinct(drawn.results) < 2)
        constant = drawn.c->name;
    }
    bool varies = constant.empty() && all.size() > 1;
    if (!exercise_.constant_output.empty())
      add(claim, varies ? State::failed : State::declared,
          varies ? "[verify] constant_output says they are, but they vary" : exercise_.constant_output);
    else
      add(claim, varies ? State::proved : State::failed,
          varies ? std::to_string(all.size()) + " different results"
                 : "every input of case \"" + (constant.empty() ? drawn_.back().c->name : constant) +
                       "\" has the same result; say why in [verify] constant_output if that is its nature");
  }

  // A submission that always errs so must be found out: some case refuses the mutant of each of its results.
  void try_mutant(const char *mutant) {
    std::string claim = std::string("mutant ") + mutant + " is refused";
    bool applies = false, refused = false;
    std::string by, message;
    for (const Drawn &drawn : drawn_) {
      size_t tried = 0, caught = 0;
      for (size_t i = 0; i < draws; ++i) {
        std::optional<Bytes> wrong = judge_->mutate(drawn.results[i], mutant);
        if (!wrong)
          continue;
        ++tried;
        std::vector<Bytes> inputs{drawn.inputs[i]}, expected{drawn.results[i]}, got{std::move(*wrong)};
        if (judge_->has_expected())
          expected = judge_->expected(inputs);
        Check check = judge_->check(inputs, got, expected);
        if (!check.ok) {
          ++caught;
          message = first_line(check.message);
        }
      }
      applies = applies || tried > 0;
      if (tried > 0 && caught == tried && !refused) {
        refused = true;
        by = "case '" + drawn.c->name + "': " + message;
      }
    }
    auto declared = exercise_.valid_mutants.find(mutant);
    if (!applies)
      add(claim, State::proved, "does not apply to results of this kind");
    else if (declared != exercise_.valid_mutants.end())
      add(claim, refused ? State::failed : State::declared,
          refused ? "[verify] mutants declares it right, but it is refused by " + by : declared->second);
    else
      add(claim, refused ? State::proved : State::failed,
          refused
              ? by
              : "no case refuses it every time; make the check stricter, or say in [verify] mutants why it is right");
  }

  // Inputs are decoded and results encoded inside the clock, for all candidates alike: where that takes long, speedups
  // are watered down.
  void coding_is_short(double reference_seconds) {
    if (!(reference_seconds > 0)) // it was not timed
      return;
    const double share = coding_seconds_ / reference_seconds;
    add("coding takes at most 10%", share <= coding_share ? State::proved : State::failed,
        ratio_text(share * 100) + "% of the reference's time" +
            (share <= coding_share ? "" : "; hand over arrays instead of tables, or make the case harder"));
  }

  double coding() {
    for (const Drawn &drawn : drawn_)
      if (timed(*drawn.c) && drawn.c->name == exercise_.tiers.back().case_name)
        return coding_seconds(drawn);
    return 0.0;
  }

  // Seconds that decoding an input and encoding its result take in a worker's way, best of a few.
  double coding_seconds(const Drawn &drawn) {
    struct Work {
      const Drawn &drawn;
      std::vector<std::byte *> inputs, results;
      double best = 1e9;
      std::string error;
    } work{drawn, {}, {}, 1e9, ""};
    // Decoded arrays point into the blobs, whose memory must never go: these few are left to the program's end.
    for (size_t i = 0; i < drawn.inputs.size(); ++i) {
      work.inputs.push_back(aligned(drawn.inputs[i]));
      work.results.push_back(aligned(drawn.results[i]));
    }
    pg_vm_options options{};
    options.struct_size = sizeof options;
    pg_vm *vm = nullptr;
    if (pg_vm_create(&options, &vm) != PG_OK)
      throw InfrastructureError("the engine does not start");
    pg_status status = pg_vm_with_state(
        vm,
        [](void *state, void *user) {
          auto *L = static_cast<lua_State *>(state);
          Work &work = *static_cast<Work *>(user);
          lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
          lua_getfield(L, -1, "require");
          lua_pushliteral(L, "array");
          lua_call(L, 1, 1);
          wire::ArrayBridge bridge = wire::bridge(L);
          wire::Encoder encoder(bridge);
          Bytes scratch;
          for (int round = 0; round < 5; ++round)
            for (size_t i = 0; i < work.drawn.inputs.size() && work.error.empty(); ++i) {
              if (!wire::decode(L, {work.results[i], work.drawn.results[i].size()}, {}, bridge, work.error))
                return;
              auto start = std::chrono::steady_clock::now();
              int count =
                  wire::decode_arguments(L, {work.inputs[i], work.drawn.inputs[i].size()}, {}, bridge, work.error);
              bool coded = count >= 0 && encoder.encode(L, -1 - count, {});
              scratch.clear();
              if (coded)
                encoder.append(scratch, true);
              std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
              encoder.release();
              lua_pop(L, std::max(count, 0) + 1);
              work.best = std::min(work.best, took.count());
            }
        },
        &work);
    std::string error = status == PG_OK ? work.error : pg_vm_error(vm)->message;
    pg_vm_destroy(vm);
    if (!error.empty())
      throw InfrastructureError("coding: " + error);
    return work.best;
  }

  static std::byte *aligned(const Bytes &blob) {
    size_t size = (blob.size() + wire::alignment - 1) / wire::alignment * wire::alignment;
    auto *memory = static_cast<std::byte *>(std::aligned_alloc(wire::alignment, size));
    if (!memory)
      throw std::bad_alloc();
    std::memcpy(memory, blob.data(), blob.size());
    return memory;
  }

  const Exercise &exercise_;
  Exercise untimed_ = exercise_; // with the tiers that need no clock
  Session &session_;
  const std::function<void(const Finding &)> report_;
  const std::function<void(const std::string &)> begin_;
  std::unique_ptr<Judge> judge_;
  std::vector<Drawn> drawn_;
  bool failed_ = false, starter_is_right_ = false;
  double coding_seconds_ = 0.0;
};

Verification::Verification(const Exercise &exercise, Session &session, std::function<void(const Finding &)> report,
                           std::function<void(const std::string &)> begin)
    : impl_(std::make_unique<Impl>(exercise, session, std::move(report), std::move(begin))) {}
Verification::~Verification() = default;
Verification::Verification(Verification &&) noexcept = default;
void Verification::rightness() {
  impl_->rightness();
}
bool Verification::failed() const {
  return impl_->failed();
}
bool Verification::has_speeds() const {
  return impl_->has_timed_tiers();
}
void Verification::speed() {
  impl_->speed();
}

std::string_view name_of(Finding::State state) {
  switch (state) {
  case State::proved:
    return "proved";
  case State::declared:
    return "declared";
  case State::failed:
    return "failed";
  case State::open:
    return "open";
  }
  return "";
}

} // namespace perigee::grader
