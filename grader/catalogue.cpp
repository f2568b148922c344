#include "catalogue.hpp"

#include "ranks.hpp"
#include "wording.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <sched.h>
#include <set>

#include <lua.hpp>
#include <nlohmann/json.hpp>
#include <toml++/toml.h>

namespace perigee::grader {

namespace fs = std::filesystem;

namespace {

// Teaching order of the lessons (the curriculum's); others follow by name.
constexpr const char *lesson_order[] = {"profiling", "data-structures", "arrays", "compilers", "parallel",
                                        "mpi",       "tasks",           "gpu",    "data"};
constexpr const char *mutant_names[] = {"drop_last", "off_by_one", "wrong_sign"};

size_t lesson_rank(const std::string &lesson) {
  return std::find(std::begin(lesson_order), std::end(lesson_order), lesson) - std::begin(lesson_order);
}

std::string where(const fs::path &file, int line, const std::string &key, const std::string &message) {
  std::string text = file.string();
  if (line > 0)
    text += ":" + std::to_string(line);
  if (!key.empty())
    text += ": " + key;
  return text + ": " + message;
}

std::string plain(double value) {
  return nlohmann::json(value).dump();
}

const char *type_name(toml::node_type type) {
  switch (type) {
  case toml::node_type::table:
    return "a table";
  case toml::node_type::array:
    return "a list";
  case toml::node_type::string:
    return "a string";
  case toml::node_type::integer:
    return "a whole number";
  case toml::node_type::floating_point:
    return "a number";
  case toml::node_type::boolean:
    return "true or false";
  case toml::node_type::date:
  case toml::node_type::time:
  case toml::node_type::date_time:
    return "a date or time";
  default:
    return "nothing";
  }
}

bool is_slug(std::string_view text) {
  return !text.empty() && text.front() != '-' && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

bool is_identifier(std::string_view text) {
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// Reads the keys of one table; every key must be asked for before finish(), which refuses the rest.
class Reader {
 public:
  Reader(fs::path file, std::string prefix, const toml::table &table)
      : file_(std::move(file)), prefix_(std::move(prefix)), table_(table) {}

  [[noreturn]] void fail(const char *key, const std::string &message) const {
    const toml::node *node = table_.get(key);
    throw ExerciseError(file_, line(node ? node : static_cast<const toml::node *>(&table_)), prefix_ + key, message);
  }

  bool has(const char *key) const { return table_.contains(key); }

  // `fallback` absent: the key is required.
  std::string text(const char *key, std::optional<std::string> fallback = std::nullopt) {
    const toml::node *node = get(key, fallback.has_value());
    if (!node)
      return *fallback;
    if (!node->is_string())
      wrong(key, "a string", *node);
    std::string value = **node->as_string();
    if (value.find_first_not_of(" \t\n") == std::string::npos)
      fail(key, "must not be empty");
    return value;
  }

  double number(const char *key, double low, double high, bool low_excluded, std::optional<double> fallback) {
    const toml::node *node = get(key, fallback.has_value());
    if (!node)
      return *fallback;
    if (!node->is_number())
      wrong(key, "a number", *node);
    double value = *node->value<double>();
    // Written so that NaN fails too.
    if (!((low_excluded ? value > low : value >= low) && value <= high))
      fail(key, "must be " + std::string(low_excluded ? "above " : "at least ") + plain(low) +
                    (std::isfinite(high) ? " and at most " + plain(high) : "") + ", not " + plain(value));
    return value;
  }

  int whole(const char *key, int low, int high, std::optional<int> fallback) {
    const toml::node *node = get(key, fallback.has_value());
    if (!node)
      return *fallback;
    if (!node->is_integer())
      wrong(key, "a whole number", *node);
    int64_t value = **node->as_integer();
    if (value < low || value > high)
      fail(key,
           "must be from " + std::to_string(low) + " to " + std::to_string(high) + ", not " + std::to_string(value));
    return static_cast<int>(value);
  }

  bool flag(const char *key, bool fallback) {
    const toml::node *node = get(key, true);
    if (!node)
      return fallback;
    if (!node->is_boolean())
      wrong(key, "true or false", *node);
    return **node->as_boolean();
  }

  std::string choice(const char *key, const std::vector<std::string> &legal) {
    std::string value = text(key);
    if (std::find(legal.begin(), legal.end(), value) == legal.end()) {
      std::string list;
      for (const std::string &one : legal)
        list += (list.empty() ? "\"" : " or \"") + one + "\"";
      fail(key, "must be " + list + ", not \"" + value + "\"");
    }
    return value;
  }

  std::vector<std::string> texts(const char *key, bool required) {
    const toml::node *node = get(key, !required);
    std::vector<std::string> values;
    if (!node)
      return values;
    if (!node->is_array())
      wrong(key, "a list of strings", *node);
    for (const toml::node &element : *node->as_array()) {
      if (!element.is_string())
        throw ExerciseError(file_, line(&element), prefix_ + key,
                            std::string("must be a list of strings, but holds ") + type_name(element.type()));
      values.push_back(**element.as_string());
    }
    return values;
  }

  // The sub-table under `key`; an empty one if it is absent and may be.
  Reader table(const char *key, bool required) {
    static const toml::table none;
    const toml::node *node = get(key, !required);
    if (node && !node->is_table())
      wrong(key, std::string("a table [") + prefix_ + key + "]", *node);
    return Reader(file_, prefix_ + key + ".", node ? *node->as_table() : none);
  }

  std::vector<Reader> tables(const char *key, const char *when_missing) {
    if (!has(key)) {
      look_for_misspelt(key);
      fail(key, std::string("is missing; ") + when_missing);
    }
    const toml::node *node = get(key, false);
    if (!node->is_array())
      wrong(key, std::string("a list of tables [[") + prefix_ + key + "]]", *node);
    std::vector<Reader> readers;
    for (const toml::node &element : *node->as_array()) {
      std::string name = prefix_ + key + "[" + std::to_string(readers.size() + 1) + "]";
      if (!element.is_table())
        throw ExerciseError(file_, line(&element), name,
                            std::string("must be a table, not ") + type_name(element.type()));
      readers.emplace_back(file_, name + ".", *element.as_table());
    }
    return readers;
  }

  // A number, or a table of numbers, strings, booleans and lists of these, as JSON.
  std::string json(const char *key) {
    const toml::node *node = get(key, false);
    if (!node->is_number() && !node->is_table())
      wrong(key, "a number or an inline table", *node);
    return to_json(*node, prefix_ + key).dump();
  }

  void finish() const {
    for (auto &&[key, node] : table_) {
      std::string name(key.str());
      if (!known_.count(name)) {
        std::string near = nearest(name, {known_.begin(), known_.end()});
        throw ExerciseError(file_, static_cast<int>(key.source().begin.line), prefix_ + name,
                            "unknown key" + (near.empty() ? "" : "; did you mean " + near + "?"));
      }
    }
  }

 private:
  int line(const toml::node *node) const { return static_cast<int>(node->source().begin.line); }

  const toml::node *get(const char *key, bool optional) {
    known_.insert(key);
    const toml::node *node = table_.get(key);
    if (!node && !optional) {
      look_for_misspelt(key);
      fail(key, "is missing");
    }
    return node;
  }

  // What is missing may be there with a slip in its name: that line is the one to mend. Legal keys of one table differ
  // from each other in more than two letters, or are short.
  void look_for_misspelt(const std::string &key) const {
    for (auto &&[name, node] : table_)
      if (key.size() > 3 && edit_distance(name.str(), key) <= 2)
        throw ExerciseError(file_, static_cast<int>(name.source().begin.line), prefix_ + std::string(name.str()),
                            "unknown key; did you mean " + key + "?");
  }

  [[noreturn]] void wrong(const char *key, const std::string &wanted, const toml::node &got) const {
    fail(key, "must be " + wanted + ", not " + type_name(got.type()));
  }

  nlohmann::json to_json(const toml::node &node, const std::string &key) const {
    if (auto value = node.as_integer())
      return **value;
    if (auto value = node.as_floating_point(); value && std::isfinite(**value))
      return **value;
    if (auto value = node.as_boolean())
      return **value;
    if (auto value = node.as_string())
      return **value;
    if (auto list = node.as_array()) {
      nlohmann::json result = nlohmann::json::array();
      for (const toml::node &element : *list)
        result.push_back(to_json(element, key));
      return result;
    }
    if (auto table = node.as_table()) {
      nlohmann::json result = nlohmann::json::object();
      for (auto &&[name, element] : *table)
        result[std::string(name.str())] = to_json(element, key + "." + std::string(name.str()));
      return result;
    }
    throw ExerciseError(file_, line(&node), key,
                        "may hold finite numbers, strings, booleans, lists and tables of these only");
  }

  fs::path file_;
  std::string prefix_;
  const toml::table &table_;
  std::set<std::string> known_;
};

std::string default_tier_name(const Tier &tier) {
  std::string other = tier.against == Against::reference ? "the reference" : "the naive script";
  if (tier.counted())
    return plain(std::round(100 / tier.ratio) / 100) + "x the " +
           (tier.against == Against::reference ? "reference" : "naive script") + "'s " + counted_words(tier.metric);
  if (tier.ratio == 1.0)
    return "as fast as " + other;
  return plain(tier.ratio) + "x the speed of " + other;
}

void require_file(const fs::path &path, const std::string &why) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored))
    throw ExerciseError(path, 0, "", "is missing: " + why);
}

// A script of the exercise's own must be there and parse; it is not run. Else `list` would show an exercise that no
// submission can pass, and `check` would blame the machine.
void require_script(const fs::path &path, const std::string &why) {
  require_file(path, why);
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::unique_ptr<lua_State, void (*)(lua_State *)> lua(luaL_newstate(), lua_close);
  if (!lua || luaL_loadbufferx(lua.get(), text.data(), text.size(), "@", "t") == 0)
    return;
  std::string message = lua_tostring(lua.get(), -1); // ":line: message"
  int line = 0;
  if (message.starts_with(':'))
    if (const auto end = message.find(": ", 1); end != std::string::npos) {
      line = std::atoi(message.c_str() + 1);
      message.erase(0, end + 2);
    }
  throw ExerciseError(path, line, "", message);
}

} // namespace

ExerciseError::ExerciseError(fs::path file_, int line_, std::string key_, const std::string &message)
    : std::runtime_error(where(file_, line_, key_, message)), file(std::move(file_)), line(line_),
      key(std::move(key_)) {}

Roots find_roots(const std::string &option, const fs::path &program) {
  std::error_code ignored;
  auto pair_in = [&](const fs::path &parent) { return Roots{parent / "exercises", parent / "solutions"}; };
  auto is_dir = [&](const fs::path &path) { return fs::is_directory(path, ignored); };

  const char *variable = std::getenv("PERIGEE_EXERCISES");
  std::string given = !option.empty() ? option : variable ? variable : "";
  if (!given.empty()) {
    const char *source = !option.empty() ? "--exercises" : "PERIGEE_EXERCISES";
    fs::path folder = fs::absolute(given).lexically_normal();
    if (!folder.has_filename())
      folder = folder.parent_path();
    if (is_dir(folder / "exercises"))
      return pair_in(folder);
    if (!is_dir(folder))
      throw UsageError(std::string(source) + ": there is no folder " + given);
    return Roots{folder, folder.parent_path() / "solutions"};
  }

  fs::path bin = program.parent_path();
  if (is_dir(bin.parent_path() / "share" / "perigee" / "exercises"))
    return pair_in(bin.parent_path() / "share" / "perigee");
  for (fs::path folder = bin; folder.has_relative_path(); folder = folder.parent_path())
    if (is_dir(folder / "exercises") && is_dir(folder / "solutions"))
      return pair_in(folder);
  throw UsageError("no exercises found beside " + program.string() +
                   "; say where they are with --exercises DIR or PERIGEE_EXERCISES");
}

Exercise load_exercise(const fs::path &folder, const fs::path &solutions_root) {
  fs::path file = folder / "exercise.toml";
  require_file(file, "every exercise folder has one");
  toml::table document;
  try {
    document = toml::parse_file(file.string());
  } catch (const toml::parse_error &error) {
    throw ExerciseError(file, static_cast<int>(error.source().begin.line), "",
                        "not valid TOML: " + std::string(error.description()));
  }

  Exercise e;
  e.folder = folder;
  e.lesson = folder.parent_path().filename().string();
  e.name = folder.filename().string();
  e.solutions = solutions_root / e.lesson / e.name;
  if (!is_slug(e.lesson) || !is_slug(e.name))
    throw ExerciseError(folder, 0, "", "lesson and name consist of small letters, digits and '-'");

  Reader root(file, "", document);
  e.id = root.text("id");
  if (e.id != e.lesson + "/" + e.name)
    root.fail("id", "must be \"" + e.lesson + "/" + e.name + "\" as the folder says, not \"" + e.id + "\"");
  e.title = root.text("title");
  if (std::string lesson = root.text("lesson"); lesson != e.lesson)
    root.fail("lesson", "must be \"" + e.lesson + "\" as the folder says, not \"" + lesson + "\"");
  e.difficulty = root.whole("difficulty", 1, 5, std::nullopt);
  e.minutes = root.whole("minutes", 1, 600, std::nullopt);
  e.entry = root.text("entry", "solve");
  if (!is_identifier(e.entry))
    root.fail("entry", "must be the name of a function, not \"" + e.entry + "\"");
  e.objectives = root.texts("objectives", true);
  e.modules = root.texts("modules", true);
  for (const std::string &module : e.modules)
    if (!is_identifier(module))
      root.fail("modules", "\"" + module + "\" is not the name of a module; write \"array\", not \"perigee.array\"");
  e.jit = root.choice("jit", {"on", "off"}) == "on";
  e.fresh_state = root.choice("state", {"keep", "fresh"}) == "fresh";
  e.in_place = root.flag("in_place", false);
  const double unlimited = std::numeric_limits<double>::infinity();
  e.correctness_points = root.number("correctness", 0, 1000, false, std::nullopt);
  e.hints = root.texts("hints", true);

  Reader needs = root.table("needs", false);
  e.needs.cores = needs.whole("cores", 1, 1024, 1);
  e.needs.ranks = needs.whole("ranks", 1, most_ranks, 1);
  if (e.uses_mpi() && e.needs.cores > 1)
    needs.fail("cores", "ranks have a core each; threads beside them are not measured");
  e.needs.gpu = needs.flag("gpu", false);
  e.needs.sleep = needs.flag("sleep", false);
  needs.finish();

  Reader limits = root.table("limits", true);
  e.limits.call_seconds = limits.number("time", 0, 3600, true, std::nullopt);
  // Below 32 MiB the interpreter and its libraries do not fit.
  e.limits.memory_bytes = static_cast<int64_t>(limits.number("memory", 32, 1 << 20, false, std::nullopt) * (1 << 20));
  if (limits.has("output"))
    e.limits.output_bytes = static_cast<int64_t>(limits.number("output", 0, 1 << 20, true, std::nullopt) * (1 << 20));
  e.limits.budget_seconds = limits.number("budget", 0, 3600, true, e.limits.budget_seconds);
  limits.finish();

  Reader tolerance = root.table("tolerance", false);
  e.tolerance.relative = tolerance.number("relative", 0, unlimited, false, 0.0);
  e.tolerance.absolute = tolerance.number("absolute", 0, unlimited, false, 0.0);
  e.tolerance.nan_equal = tolerance.flag("nan_equal", false);
  tolerance.finish();

  std::set<std::string> names;
  for (Reader &reader : root.tables("cases", "an exercise needs at least one [[cases]] with name and size")) {
    Case one;
    one.name = reader.text("name");
    if (!names.insert(one.name).second)
      reader.fail("name", "\"" + one.name + "\" is the name of another case already");
    one.size_json = reader.json("size");
    one.trials = reader.whole("trials", 1, 10000, 1);
    if (e.uses_mpi())
      one.ranks = reader.whole("ranks", 1, e.needs.ranks, e.needs.ranks);
    reader.finish();
    e.cases.push_back(std::move(one));
  }
  if (e.cases.empty())
    root.fail("cases", "an exercise needs at least one [[cases]] with name and size");

  double total = e.correctness_points;
  bool needs_naive = false;
  for (Reader &reader : root.tables("tiers", "add [[tiers]], or write `tiers = []` above the first [table] if only the "
                                             "result counts")) {
    Tier tier;
    std::vector<std::string> metrics = counted_metrics();
    metrics.insert(metrics.begin(), "time");
    tier.metric = reader.choice("metric", metrics);
    if (tier.counted() && !e.needs.gpu)
      reader.fail("metric", "counts what a GPU does, and [needs] does not say gpu = true");
    tier.against = reader.choice("against", {"reference", "naive"}) == "naive" ? Against::naive : Against::reference;
    tier.ratio = reader.number("ratio", 0, 1e6, true, std::nullopt);
    tier.points = reader.number("points", 0, 1000, false, std::nullopt);
    tier.name = reader.text("name", default_tier_name(tier));
    tier.cores = reader.whole("cores", 2, 1024, 1);
    if (tier.cores > std::max(e.needs.cores, e.needs.ranks))
      reader.fail("cores", e.uses_mpi() ? "must be at most needs.ranks, which is " + std::to_string(e.needs.ranks)
                                        : "must be at most needs.cores, which is " + std::to_string(e.needs.cores));
    tier.case_name = reader.text("case", e.cases.back().name);
    if (!names.count(tier.case_name))
      reader.fail("case", "there is no case \"" + tier.case_name + "\"");
    reader.finish();
    needs_naive = needs_naive || tier.against == Against::naive;
    total += tier.points;
    e.tiers.push_back(std::move(tier));
  }
  if (total <= 0)
    root.fail("correctness", "an exercise must give points for something");

  Reader verify = root.table("verify", false);
  e.constant_output = verify.text("constant_output", "");
  Reader mutants = verify.table("mutants", false);
  for (const char *name : mutant_names)
    if (std::string reason = mutants.text(name, ""); !reason.empty())
      e.valid_mutants[name] = reason;
  mutants.finish();
  verify.finish();
  root.finish();

  require_file(folder / "README.md", "the statement that learners read");
  require_file(folder / "starter.lua", "the script that learners edit");
  require_script(folder / "cases.lua", "inputs and checks");
  require_script(e.solutions / "reference.lua", "submissions are compared with it");
  if (needs_naive)
    require_script(e.solutions / "naive.lua", "a tier of " + e.id + " compares with it");
  return e;
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

Exercise scaled_to(Exercise e, int cores) {
  if (e.uses_mpi()) {
    // Timed with a core for each rank: ranks that share one wait for each other's turns, which says nothing of the
    // program. Two is the least that has messages.
    const int most = std::max(2, cores);
    for (Case &c : e.cases)
      if (c.ranks > most &&
          std::any_of(e.tiers.begin(), e.tiers.end(), [&](auto &t) { return t.case_name == c.name; })) {
        e.notes.push_back("case '" + c.name + "' is for " + std::to_string(c.ranks) + " ranks, and ran with " +
                          std::to_string(most) + ": this machine has " + std::to_string(cores) +
                          (cores == 1 ? " core" : " cores"));
        c.ranks = most;
      }
    // What one core cannot show is not asked for there, rather than missed.
    std::erase_if(e.tiers, [&](const Tier &tier) {
      if (cores > 1 || tier.cores == 1)
        return false;
      e.notes.push_back("not measurable here: '" + tier.name + "' needs " + std::to_string(tier.cores) +
                        " cores (2 at least), and this machine has one; its points are not counted");
      return true;
    });
  }
  for (Tier &tier : e.tiers)
    if (cores < tier.cores) {
      const double here = tier.ratio * cores / tier.cores;
      char scale[128];
      std::snprintf(scale, sizeof scale, " (%gx on %d cores is %gx on the %d here)", tier.ratio, tier.cores, here,
                    cores);
      tier.name += scale;
      tier.ratio = here;
    }
  return e;
}

Catalogue load_catalogue(const Roots &roots) {
  Catalogue catalogue;
  catalogue.roots = roots;
  std::error_code error;
  auto folders = [&](const fs::path &parent) {
    std::vector<fs::path> found;
    for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
      std::error_code ignored;
      if (it->is_directory(ignored) && it->path().filename().string()[0] != '.')
        found.push_back(it->path());
    }
    if (error)
      throw UsageError("cannot read " + parent.string() + ": " + error.message());
    std::sort(found.begin(), found.end());
    return found;
  };
  for (const fs::path &lesson : folders(roots.exercises))
    for (const fs::path &folder : folders(lesson)) {
      try {
        catalogue.exercises.push_back(load_exercise(folder, roots.solutions));
      } catch (const ExerciseError &problem) {
        catalogue.invalid.push_back(problem);
      }
    }
  if (catalogue.exercises.empty() && catalogue.invalid.empty())
    throw UsageError("there are no exercises in " + roots.exercises.string() +
                     " (looked for <lesson>/<name>/exercise.toml)");
  auto key = [](const Exercise &e) { return std::make_tuple(lesson_rank(e.lesson), e.lesson, e.difficulty, e.name); };
  std::sort(catalogue.exercises.begin(), catalogue.exercises.end(),
            [&](const Exercise &a, const Exercise &b) { return key(a) < key(b); });
  return catalogue;
}

const Exercise *Catalogue::find(std::string_view id) const {
  for (const Exercise &e : exercises)
    if (e.id == id)
      return &e;
  return nullptr;
}

const Exercise &Catalogue::get(std::string_view id) const {
  if (const Exercise *found = find(id))
    return *found;
  for (const ExerciseError &error : invalid)
    if (error.file.parent_path() == roots.exercises / id || error.file.parent_path() == roots.solutions / id)
      throw error;
  throw UsageError("there is no exercise \"" + std::string(id) + "\"" + suggestion(id) + " (`perigee list` shows all)");
}

std::vector<const Exercise *> Catalogue::named(std::string_view name) const {
  std::vector<const Exercise *> found;
  for (const Exercise &e : exercises)
    if (e.name == name)
      found.push_back(&e);
  return found;
}

std::string Catalogue::suggestion(std::string_view id) const {
  while (!id.empty() && id.back() == '/')
    id.remove_suffix(1);
  if (id.size() > 4 && id.substr(id.size() - 4) == ".lua")
    id.remove_suffix(4);
  // A bare name is near to the ids that end in it, whatever their lesson.
  if (size_t slash = id.rfind('/'); slash == std::string_view::npos || !find(id)) {
    std::string list;
    for (const Exercise *e : named(slash == std::string_view::npos ? id : id.substr(slash + 1)))
      list += (list.empty() ? "" : " or ") + e->id;
    if (!list.empty())
      return "; did you mean " + list + "?";
  }
  std::vector<std::string> ids, names;
  for (const Exercise &e : exercises) {
    ids.push_back(e.id);
    names.push_back(e.name);
  }
  std::string near = nearest(id, ids);
  if (near.empty())
    if (std::string name = nearest(id, names); !name.empty())
      near = named(name).front()->id;
  return near.empty() ? "" : "; did you mean " + near + "?";
}

int edit_distance(std::string_view a, std::string_view b) {
  // Optimal string alignment: three rows of the usual table suffice.
  std::vector<int> before(b.size() + 1), previous(b.size() + 1), current(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    previous[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        current[j] = std::min(current[j], before[j - 2] + 1);
    }
    std::swap(before, previous);
    std::swap(previous, current);
  }
  return previous[b.size()];
}

std::string nearest(std::string_view word, const std::vector<std::string> &candidates) {
  std::string best;
  // Up to a third of the letters may be wrong, at least two.
  int best_distance = std::max<int>(2, static_cast<int>(word.size()) / 3) + 1;
  for (const std::string &candidate : candidates)
    if (int distance = edit_distance(word, candidate); distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  return best;
}

} // namespace perigee::grader
