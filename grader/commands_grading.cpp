// The commands that grade: check, grade, verify.
#include "commands.hpp"

#include "fingerprint.hpp"
#include "grade.hpp"
#include "progress.hpp"
#include "sandbox.hpp"
#include "store.hpp"
#include "verify.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <tuple>

#include <nlohmann/json.hpp>

namespace perigee::grader {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

Session *session_to_stop = nullptr; // what a signal handler can reach

void stop(int signal) {
  std::signal(signal, SIG_DFL); // a second Ctrl-C ends the program at once; sandboxes die with it
  session_to_stop->interrupt();
}

// While it lives, Ctrl-C and a terminate signal stop the session and not the program.
class StopOnSignal {
 public:
  explicit StopOnSignal(Session &session) {
    session_to_stop = &session;
    std::signal(SIGINT, stop);
    std::signal(SIGTERM, stop);
  }
  ~StopOnSignal() {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
  }
};

SessionOptions session_options(ProgressLine &progress) {
  SessionOptions options;
  options.progress = [&progress](const Progress &p) { progress.update(p.phase, p.done); };
  return options;
}

} // namespace

int check_submission(const Context &context, const CheckOptions &options) {
  Catalogue catalogue = context.catalogue();
  const Exercise &exercise = catalogue.get(options.id);
  const Console &console = context.console;
  fs::path file = options.file;
  if (file.empty()) {
    file = exercise.name + ".lua";
    if (!fs::exists(file))
      file = exercise.lesson + "/" + exercise.name + ".lua";
    if (!fs::exists(file))
      throw UsageError("there is neither " + exercise.name + ".lua nor " + file.string() +
                       " here; name the file, or begin with: perigee start " + exercise.id);
  } else if (!fs::exists(file)) {
    throw UsageError("there is no file " + file.string());
  } else if (fs::is_directory(file)) {
    throw UsageError(file.string() + " is a folder; name the script in it");
  }
  if (access(file.c_str(), R_OK) != 0)
    throw UsageError("cannot read " + file.string() + ": " + std::strerror(errno));

  ProgressLine progress(console);
  SessionOptions session_settings = session_options(progress);
  session_settings.quick = options.quick;
  Session session(session_settings);
  StopOnSignal signals(session);
  Report report;
  report.exercises = {exercise};
  try {
    report.results.push_back(grade_submission(exercise, {"", file}, session));
  } catch (const Interrupted &) {
    progress.clear();
    console.err << "perigee: stopped\n";
    return 130;
  }
  progress.clear();
  if (options.json)
    console.out << dump(to_json(report.results[0]));
  else
    print_result(console, exercise, report.results[0]);
  return exit_code(report);
}

namespace {

// Scripts that lie too deep or are named otherwise, and whatever is there where no script is (an archive, say): who
// looks for a missing submission finds it under "Not graded".
void name_overlooked(const fs::path &person, bool nothing_taken,
                     const std::function<void(const fs::path &, const std::string &)> &skip) {
  std::vector<std::pair<fs::path, std::string>> list;
  std::error_code error;
  fs::recursive_directory_iterator it(person, fs::directory_options::skip_permission_denied, error), end;
  for (; !error && it != end; it.increment(error)) {
    const fs::path &path = it->path();
    std::error_code ignored;
    const bool is_folder = it->is_directory(ignored);
    if (path.filename().string()[0] == '.' || it->is_symlink(ignored) || (is_folder && path.extension() == ".lua")) {
      if (is_folder)
        it.disable_recursion_pending();
      continue;
    }
    std::string extension = path.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return tolower(c); });
    if (is_folder || (extension == ".lua" && path.extension() == ".lua" && it.depth() < 2))
      continue;
    if (extension == ".lua" && it.depth() < 2)
      list.emplace_back(path, "does not end in .lua: capital letters count");
    else if (extension == ".lua")
      list.emplace_back(path, "lies too deep (learner/lesson/name.lua or learner/name.lua)");
    else if (nothing_taken && extension != ".md") // the statement, which `perigee start` puts beside the script
      list.emplace_back(path, "is no Lua script (learner/lesson/name.lua or learner/name.lua)");
  }
  std::sort(list.begin(), list.end());
  constexpr size_t most = 10; // a folder of libraries, say
  for (size_t i = 0; i < list.size() && i < most; ++i)
    skip(list[i].first, i + 1 == most && list.size() > most
                            ? list[i].second + "; and " + std::to_string(list.size() - most) + " more such files"
                            : list[i].second);
}

} // namespace

ClassFolder scan_class(const fs::path &folder, const Catalogue &catalogue, const std::string &only,
                       const fs::path &out) {
  ClassFolder found;
  // Entries by name; what is hidden belongs to editors and version control.
  auto entries = [&](const fs::path &parent) {
    std::vector<fs::directory_entry> list;
    std::error_code error;
    for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error))
      if (it->path().filename().string()[0] != '.')
        list.push_back(*it);
    if (error) {
      if (parent == folder)
        throw UsageError("cannot read " + folder.string() + ": " + error.message());
      const fs::path inside = parent.lexically_relative(folder);
      found.skipped.push_back({inside.begin()->string(), inside.string(), "cannot be read: " + error.message()});
    }
    std::sort(list.begin(), list.end());
    return list;
  };
  auto is_link = [](const fs::directory_entry &entry) {
    std::error_code ignored;
    return entry.is_symlink(ignored);
  };
  auto is_folder = [](const fs::directory_entry &entry) {
    std::error_code ignored;
    return entry.is_directory(ignored);
  };

  for (const fs::directory_entry &person : entries(folder)) {
    std::string learner = person.path().filename().string();
    auto skip = [&](const fs::path &path, const std::string &reason) {
      found.skipped.push_back({learner, path.lexically_relative(folder).string(), reason});
    };
    if (is_link(person)) {
      found.skipped.push_back({"", learner, "is a symbolic link, which is not followed"});
      continue;
    }
    if (std::error_code ignored; !out.empty() && fs::equivalent(person.path(), out, ignored))
      continue;
    if (!is_folder(person)) {
      if (person.path().extension() == ".lua")
        found.skipped.push_back(
            {"", learner, "lies in no learner's folder (learner/lesson/name.lua or learner/name.lua)"});
      continue;
    }
    found.learners.push_back(learner);
    std::vector<const Exercise *> handed_in;
    auto take = [&](const fs::path &path, const Exercise *exercise) {
      if (!only.empty() && exercise->id != only)
        return;
      if (std::find(handed_in.begin(), handed_in.end(), exercise) != handed_in.end()) {
        skip(path, "a second script for " + exercise->id + "; the other one was graded");
        return;
      }
      handed_in.push_back(exercise);
      found.files.push_back({learner, exercise, path.lexically_relative(folder).string()});
    };
    auto unknown = [&](const fs::path &path, const std::string &id) {
      for (const ExerciseError &error : catalogue.invalid)
        if (error.file.parent_path().filename() == path.stem()) {
          skip(path, std::string("its exercise is invalid: ") + error.what());
          return;
        }
      if (only.empty())
        skip(path, "is no exercise's name" + catalogue.suggestion(id));
    };
    // Folders of lessons first: learner/lesson/name.lua says more than learner/name.lua.
    std::vector<fs::directory_entry> inside = entries(person.path());
    for (const fs::directory_entry &entry : inside) {
      if (is_link(entry)) {
        skip(entry.path(), "is a symbolic link, which is not followed");
        continue;
      }
      if (!is_folder(entry))
        continue;
      for (const fs::directory_entry &file : entries(entry.path())) {
        if (file.path().extension() != ".lua")
          continue;
        std::string id = entry.path().filename().string() + "/" + file.path().stem().string();
        if (const Exercise *exercise = catalogue.find(id))
          take(file.path(), exercise);
        else
          unknown(file.path(), id);
      }
    }
    for (const fs::directory_entry &entry : inside) {
      if (is_link(entry) || is_folder(entry) || entry.path().extension() != ".lua")
        continue;
      std::string name = entry.path().stem().string();
      std::vector<const Exercise *> named = catalogue.named(name);
      if (named.size() == 1)
        take(entry.path(), named[0]);
      else if (named.empty())
        unknown(entry.path(), name);
      else
        skip(entry.path(), "could be " + named[0]->id + " or " + named[1]->id + "; put it into the lesson's folder");
    }
    if (only.empty())
      name_overlooked(person.path(), handed_in.empty(), skip);
  }
  if (found.learners.empty())
    throw UsageError("there are no learners in " + folder.string() +
                     " (looked for learner/lesson/name.lua and learner/name.lua)");
  auto rank = [&](const ClassFile &file) { return file.exercise - catalogue.exercises.data(); };
  std::stable_sort(found.files.begin(), found.files.end(), [&](const ClassFile &a, const ClassFile &b) {
    return std::tuple(rank(a), a.learner) < std::tuple(rank(b), b.learner);
  });
  return found;
}

namespace {

// What an earlier run has found of a submission that has not changed since; nothing if it is to be graded.
std::optional<Result> kept_result(Store &store, const GradeOptions &options, const std::string &machine,
                                  const ClassFile &file, const std::string &fingerprint) {
  const auto begins = [](const char *words) {
    return [=](const std::string &note) { return note.rfind(words, 0) == 0; };
  };
  std::optional<Store::Kept> kept = store.kept(machine, file.learner, file.exercise->id, fingerprint);
  if (!kept)
    return std::nullopt;
  std::vector<std::string> &notes = kept->result.notes;
  if (options.require_full_sandbox && std::any_of(notes.begin(), notes.end(), begins("not protected")))
    return std::nullopt;
  if (std::none_of(notes.begin(), notes.end(), begins("kept from the run of ")))
    notes.push_back("kept from the run of " + kept->started);
  kept->result.learner = file.learner;
  kept->result.file = file.file;
  return std::move(kept->result);
}

} // namespace

int grade_class(const Context &context, const GradeOptions &options) {
  Catalogue catalogue = context.catalogue();
  const Console &console = context.console;
  if (!options.exercise.empty())
    catalogue.get(options.exercise);
  for (const ExerciseError &error : catalogue.invalid)
    console.err << "perigee: left out, invalid: " << error.what() << '\n';
  ClassFolder found = scan_class(options.folder, catalogue, options.exercise, options.out);

  // Before any work: a grading of an hour must not end with a folder that cannot be written.
  std::error_code error;
  fs::create_directories(options.out, error);
  if (error || !fs::is_directory(options.out))
    throw UsageError("cannot make the output folder " + options.out.string() + ": " +
                     (error ? error.message() : "a file of that name is in the way"));
  Store store(options.out / "results.sqlite");
  write_file(options.out / "results.json", "");

  Report report;
  report.started = utc_now();
  report.machine = describe_machine();
  report.learners = found.learners;
  report.skipped = found.skipped;
  for (const Exercise &exercise : catalogue.exercises)
    if (std::any_of(found.files.begin(), found.files.end(),
                    [&](const ClassFile &file) { return file.exercise == &exercise; }))
      report.exercises.push_back(exercise);
  int64_t run = store.begin(report.started, report.machine);

  ProgressLine progress(console);
  SessionOptions session_settings = session_options(progress);
  session_settings.require_full_sandbox = options.require_full_sandbox;
  Session session(session_settings);
  StopOnSignal signals(session);

  auto grade = [&](const ClassFile &file, const std::string &count) {
    progress.begin(count + " " + clean(file.learner, false) + " " + file.exercise->id);
    Result result = grade_submission(*file.exercise, {file.learner, options.folder / file.file}, session);
    result.file = file.file;
    return result;
  };
  std::map<const ClassFile *, std::string> fingerprints;
  for (const ClassFile &file : found.files)
    fingerprints[&file] = fingerprint(*file.exercise, options.folder / file.file);
  size_t kept = 0;
  try {
    // What is kept comes first: a run that is stopped again loses none of it.
    std::vector<const ClassFile *> open, again;
    for (const ClassFile &file : found.files) {
      std::optional<Result> result;
      if (options.resume)
        result = kept_result(store, options, report.machine, file, fingerprints[&file]);
      if (result)
        store.add(run, *result, fingerprints[&file]);
      else
        open.push_back(&file);
    }
    kept = found.files.size() - open.size();
    if (options.resume && kept == 0)
      console.err << "perigee: no earlier result holds: all submissions are graded\n";
    else if (options.resume)
      console.err << "perigee: " << kept << " of " << found.files.size()
                  << " submissions were graded before and have not changed: skipped, their results are kept\n";
    size_t number = kept;
    for (const ClassFile *at : open) {
      const ClassFile &file = *at;
      std::string count = std::to_string(++number) + "/" + std::to_string(found.files.size());
      Result result = grade(file, count);
      store.add(run, result, fingerprints[at]);
      if (!result.has_score())
        again.push_back(at);
      if (!console.err_terminal) // a log shows that something happens
        console.err << count << ' ' << clean(file.learner, false) << ' ' << file.exercise->id << ": "
                    << name_of(result.verdict) << '\n';
    }
    number = 0;
    for (const ClassFile *file : again) {
      std::string count = "again " + std::to_string(++number) + "/" + std::to_string(again.size());
      Result result = grade(*file, count);
      result.notes.push_back("graded a second time: the first one ended without a score");
      store.add(run, result, fingerprints[file]);
      if (!console.err_terminal)
        console.err << count << ' ' << clean(file->learner, false) << ' ' << file->exercise->id << ": "
                    << name_of(result.verdict) << '\n';
    }
  } catch (const Interrupted &) {
    report.interrupted = true;
  }
  progress.clear();

  report.results = store.results(run); // what is reported is what is kept
  const auto place = [&](const Result &result) {
    return std::find_if(found.files.begin(), found.files.end(), [&](const ClassFile &file) {
      return file.exercise->id == result.exercise && clean(file.learner, false) == clean(result.learner, false);
    });
  };
  std::stable_sort(report.results.begin(), report.results.end(),
                   [&](const Result &a, const Result &b) { return place(a) < place(b); });
  for (Result &result : report.results) // JSON does not keep a name that is not UTF-8
    if (const auto file = place(result); file != found.files.end())
      result.learner = file->learner;
  for (const ClassFile &file : found.files)
    if (!report.result(file.learner, file.exercise->id))
      report.skipped.push_back({file.learner, file.file, "stopped before it was graded"});
  report.finished = utc_now();
  store.finish(run, report.finished);
  write_file(options.out / "results.json", dump(to_json(report)));
  write_file(options.out / "results.csv", to_csv(report));
  write_file(options.out / "report.html", to_html(report));
  if (options.json)
    console.out << dump(to_json(report));
  else
    print_table(console, report);
  std::ostream &words = options.json ? console.err : console.out;
  if (report.interrupted)
    words << "\nStopped. " << report.results.size() << " of " << found.files.size()
          << " submissions were finished; their results are kept. The same command with --resume goes on.\n";
  words << "\nReport: " << (options.out / "report.html").string()
        << "\nData:   " << (options.out / "results.json").string() << ", " << (options.out / "results.csv").string()
        << '\n';
  int code = exit_code(report);
  return code < 2 && !catalogue.invalid.empty() ? 2 : code;
}

int verify_exercises(const Context &context, const VerifyOptions &options) {
  Catalogue catalogue = context.catalogue();
  const Console &console = context.console;
  const std::string &id = options.id;
  const bool json = options.json;
  std::vector<const Exercise *> chosen;
  if (!id.empty())
    chosen.push_back(&catalogue.get(id));
  else
    for (const Exercise &exercise : catalogue.exercises)
      chosen.push_back(&exercise);

  ProgressLine progress(console);
  Session session(session_options(progress));
  StopOnSignal signals(session);
  ordered_json list = ordered_json::array();
  bool failed = false, open = false;
  std::vector<Verification> verifications;
  for (const Exercise *exercise : chosen) {
    const size_t index = list.size();
    list.push_back({{"exercise", exercise->id}, {"findings", ordered_json::array()}});
    verifications.emplace_back(
        *exercise, session,
        [&, index](const Finding &finding) {
          progress.clear();
          failed = failed || finding.state == Finding::State::failed;
          open = open || finding.state == Finding::State::open;
          list[index]["findings"].push_back(
              {{"claim", finding.claim}, {"state", name_of(finding.state)}, {"message", finding.message}});
          if (json)
            return;
          bool good = finding.state == Finding::State::proved || finding.state == Finding::State::declared;
          std::string mark(name_of(finding.state));
          console.out << "  "
                      << console.paint(good                                    ? "green"
                                       : finding.state == Finding::State::open ? "magenta"
                                                                               : "red",
                                       pad(mark, 9))
                      << pad(finding.claim, 40) << clean(finding.message, false) << std::endl;
        },
        [&, exercise](const std::string &what) { progress.begin(exercise->id + ": " + what); });
  }
  const auto head = [&](size_t i, const char *what) {
    if (!json)
      console.out << console.paint("bold", chosen[i]->id) << what << std::endl;
  };
  try {
    for (size_t i = 0; i < chosen.size(); ++i) {
      head(i, "");
      verifications[i].rightness();
      if (verifications[i].failed() && verifications[i].has_speeds() && !json)
        console.out << "  Speeds are not looked at before this holds." << std::endl;
    }
    for (size_t i = 0; i < chosen.size() && !options.untimed; ++i)
      if (verifications[i].has_speeds() && !verifications[i].failed()) {
        if (chosen.size() > 1)
          head(i, ": speed");
        verifications[i].speed();
      }
  } catch (const Interrupted &) {
    progress.clear();
    console.err << "perigee: stopped\n";
    return 130;
  }
  for (const ExerciseError &error : id.empty() ? catalogue.invalid : std::vector<ExerciseError>{})
    console.err << "perigee: invalid exercise: " << error.what() << '\n';
  if (json)
    console.out << dump(list);
  else
    console.out << (failed            ? "\nSome claims do not hold.\n"
                    : open            ? "\nSome claims could not be decided; run it again on a quieter machine.\n"
                    : options.untimed ? "\nAll claims that need no clock hold.\n"
                                      : "\nAll claims hold.\n");
  if (id.empty() && !catalogue.invalid.empty())
    return 2;
  return open && !failed ? 3 : failed ? 1 : 0;
}

} // namespace perigee::grader
