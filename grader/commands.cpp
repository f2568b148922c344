#include "commands.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <numeric>
#include <sstream>

#include <nlohmann/json.hpp>

namespace perigee::grader {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

std::string read_text(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw UsageError("cannot read " + path.string() + ": " + std::strerror(errno));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

double total_points(const Exercise &e) {
  double total = e.correctness_points;
  for (const Tier &tier : e.tiers)
    total += tier.points;
  return total;
}

void warn_invalid(const Context &context, const Catalogue &catalogue) {
  for (const ExerciseError &error : catalogue.invalid)
    context.console.err << "perigee: left out, invalid: " << error.what() << '\n';
}

// `**words**` stand out; on paper they are words.
std::string emphasised(const Console &console, const std::string &text) {
  std::string result;
  for (size_t at = 0;;) {
    size_t open = text.find("**", at), close = open == text.npos ? open : text.find("**", open + 2);
    if (close == text.npos)
      return result + text.substr(at);
    result += text.substr(at, open - at) + console.paint("bold", text.substr(open + 2, close - open - 2));
    at = close + 2;
  }
}

// The cells of "| a | b |"; a bar within backticks or after a backslash is no border.
std::vector<std::string> cells_of(const std::string &line) {
  std::vector<std::string> cells;
  std::string cell;
  bool code = false;
  auto finish = [&] {
    size_t from = cell.find_first_not_of(' '), to = cell.find_last_not_of(' ');
    cells.push_back(from == cell.npos ? "" : cell.substr(from, to - from + 1));
    cell.clear();
  };
  for (size_t i = 1; i < line.size(); ++i) {
    code ^= line[i] == '`';
    if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '|')
      cell += line[++i];
    else if (line[i] == '|' && !code)
      finish();
    else
      cell += line[i];
  }
  if (cell.find_first_not_of(' ') != cell.npos)
    finish();
  return cells;
}

// A table's columns side by side; what is too wide for the terminal is broken within its column, the widest first.
void print_table_of(const Console &console, const std::vector<std::string> &lines, size_t columns) {
  std::vector<std::vector<std::string>> rows;
  std::vector<size_t> widths;
  for (const std::string &line : lines) {
    if (line.find_first_not_of("|-: ") == line.npos)
      continue; // between head and body
    rows.push_back(cells_of(line));
    widths.resize(std::max(widths.size(), rows.back().size()));
    for (size_t i = 0; i < rows.back().size(); ++i)
      widths[i] = std::max(widths[i], width(rows.back()[i]));
  }
  std::vector<size_t> least(widths.size()); // a word stays whole
  for (const std::vector<std::string> &row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      std::istringstream words(row[i]);
      for (std::string word; words >> word;)
        least[i] = std::max(least[i], width(word));
    }
  auto total = [&] { return std::accumulate(widths.begin(), widths.end(), 2 * widths.size()); };
  while (total() > columns) {
    size_t widest = widths.size();
    for (size_t i = 0; i < widths.size(); ++i)
      if (widths[i] > least[i] && (widest == widths.size() || widths[i] > widths[widest]))
        widest = i;
    if (widest == widths.size())
      break;
    --widths[widest];
  }
  for (const std::vector<std::string> &row : rows) {
    std::vector<std::istringstream> cells;
    for (size_t i = 0; i < row.size(); ++i)
      cells.emplace_back(wrap(row[i], widths[i], ""));
    for (bool more = true; more;) {
      std::string line;
      more = false;
      for (size_t i = 0; i < cells.size(); ++i) {
        std::string part;
        std::getline(cells[i], part);
        more = more || cells[i].peek() != EOF;
        line += "  " + pad(part, widths[i]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      console.out << (&row == &rows.front() ? console.paint("bold", line) : emphasised(console, line)) << '\n';
    }
  }
}

// Markdown for a terminal: headings and emphasis stand out, tables have columns, paragraphs are broken at its width.
void print_markdown(const Console &console, const std::string &text) {
  std::istringstream lines(text);
  size_t columns = std::min<size_t>(console.columns, 100);
  bool code = false;
  std::string paragraph;
  std::vector<std::string> table;
  auto flush = [&] {
    if (!paragraph.empty())
      console.out << emphasised(console, wrap(paragraph, columns, ""));
    paragraph.clear();
    print_table_of(console, table, columns);
    table.clear();
  };
  for (std::string line; std::getline(lines, line);) {
    if (!code && !line.empty() && line[0] == '|') {
      if (table.empty())
        flush();
      table.push_back(line);
      continue;
    }
    if (!table.empty())
      flush();
    bool fence = line.compare(0, 3, "```") == 0;
    if (fence || code || line.empty() || line[0] == '#' || line[0] == ' ') {
      flush();
      if (fence)
        code = !code;
      else if (code)
        console.out << "    " << line << '\n';
      else if (line[0] == '#')
        console.out << console.paint("bold", line.substr(std::min(line.size(), line.find_first_not_of("# ")))) << '\n';
      else
        console.out << line << '\n';
      continue;
    }
    bool item = line.compare(0, 2, "- ") == 0 || line.compare(0, 2, "* ") == 0 ||
                (isdigit(static_cast<unsigned char>(line[0])) && line.find(". ") < 3);
    if (item)
      flush();
    paragraph += (paragraph.empty() ? "" : " ") + line;
  }
  flush();
}

enum class Put { created, kept };

// Writes a new file; one that is there already stays as it is.
Put put_file(const fs::path &path, const std::string &text) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0 && errno == EEXIST)
    return Put::kept;
  bool good = fd >= 0;
  for (size_t done = 0; good && done < text.size();) {
    ssize_t count = write(fd, text.data() + done, text.size() - done);
    good = count > 0 || (count < 0 && errno == EINTR);
    done += count > 0 ? static_cast<size_t>(count) : 0;
  }
  int problem = errno;
  if (fd >= 0)
    close(fd);
  if (!good) {
    if (fd >= 0)
      unlink(path.c_str()); // half a file would be kept next time
    throw UsageError("cannot write " + path.string() + ": " + std::strerror(problem));
  }
  return Put::created;
}

} // namespace

int list_exercises(const Context &context, const std::string &lesson, bool json) {
  Catalogue catalogue = context.catalogue();
  const Console &console = context.console;
  std::vector<const Exercise *> chosen;
  std::vector<std::string> lessons;
  for (const Exercise &e : catalogue.exercises) {
    if (lesson.empty() || e.lesson == lesson)
      chosen.push_back(&e);
    if (lessons.empty() || lessons.back() != e.lesson)
      lessons.push_back(e.lesson);
  }
  if (chosen.empty() && !lesson.empty()) {
    std::string near = nearest(lesson, lessons), all;
    for (const std::string &one : lessons)
      all += (all.empty() ? "" : ", ") + one;
    throw UsageError("there is no lesson \"" + lesson + "\"" + (near.empty() ? "" : "; did you mean " + near + "?") +
                     " (lessons: " + all + ")");
  }
  if (json) {
    ordered_json list = ordered_json::array();
    for (const Exercise *e : chosen)
      list.push_back({{"id", e->id},
                      {"title", e->title},
                      {"lesson", e->lesson},
                      {"difficulty", e->difficulty},
                      {"minutes", e->minutes},
                      {"points", total_points(*e)},
                      {"objectives", e->objectives}});
    ordered_json invalid = ordered_json::array();
    for (const ExerciseError &error : catalogue.invalid)
      invalid.push_back(
          {{"file", error.file.string()}, {"line", error.line}, {"key", error.key}, {"message", error.what()}});
    console.out << ordered_json{{"exercises", list}, {"invalid", invalid}}.dump(2) << '\n';
  } else {
    size_t id_width = 0, title_width = 0;
    for (const Exercise *e : chosen) {
      id_width = std::max(id_width, width(e->id));
      title_width = std::max(title_width, width(e->title));
    }
    std::string last;
    for (const Exercise *e : chosen) {
      if (e->lesson != last) {
        console.out << (last.empty() ? "" : "\n") << console.paint("bold", e->lesson) << '\n';
        last = e->lesson;
      }
      console.out << "  " << pad(e->id, id_width + 2) << pad(e->title, title_width + 2)
                  << console.paint("dim", std::string(static_cast<size_t>(e->difficulty), '*') +
                                              std::string(static_cast<size_t>(5 - e->difficulty), '.'))
                  << pad_left(std::to_string(e->minutes), 5) << " min" << pad_left(points_text(total_points(*e)), 5)
                  << " points\n";
    }
    if (chosen.empty())
      console.out << "There are no valid exercises.\n";
    else
      console.out << "\nNext: perigee show " << chosen.front()->id << "   (then: perigee start " << chosen.front()->id
                  << ")\n";
    warn_invalid(context, catalogue);
  }
  return catalogue.invalid.empty() ? 0 : 2;
}

int show_exercise(const Context &context, const std::string &id, int hints) {
  Catalogue catalogue = context.catalogue();
  const Exercise &e = catalogue.get(id);
  const Console &console = context.console;
  size_t columns = std::min<size_t>(console.columns, 100);
  print_markdown(console, read_text(e.folder / "README.md"));

  auto section = [&](const char *name) { console.out << '\n' << console.paint("bold", name) << '\n'; };
  section("What it earns");
  auto earn = [&](const std::string &what, double points) {
    console.out << "  " << pad(what, 52) << pad_left(points_text(points), 4) << (points == 1 ? " point" : " points")
                << '\n';
  };
  earn("every result right", e.correctness_points);
  for (const Tier &tier : scaled_to(e, usable_cores()).tiers)
    earn(tier.name + " (case \"" + tier.case_name + "\")", tier.points);

  section("How it is graded");
  std::string modules, cases;
  for (const std::string &module : e.modules)
    modules += (modules.empty() ? "perigee." : ", perigee.") + module;
  int trials = 0;
  for (const Case &one : e.cases) {
    cases += (cases.empty() ? "" : ", ") + one.name;
    trials += one.trials;
  }
  std::ostringstream facts;
  facts << "Your script returns a table with the function " << e.entry << ". It may use "
        << (modules.empty() ? "no Perigee modules" : modules) << ". The JIT compiler is " << (e.jit ? "on" : "off")
        << ".\n"
        << "One call may take " << seconds_text(e.limits.call_seconds) << ", all of it "
        << bytes_text(static_cast<double>(e.limits.memory_bytes)) << " of memory"
        << (e.in_place ? "; it may change its arguments in place" : "; it must not change its arguments") << ".\n"
        << "The tests are hidden: " << e.cases.size() << (e.cases.size() == 1 ? " case (" : " cases (") << cases
        << "), " << trials << " trials" << (e.tiers.empty() ? "" : " and every timed call")
        << ", each with inputs drawn anew that nobody has seen, and each result is checked.\n";
  if (!e.tiers.empty())
    facts << "Speed is compared with solutions that run on the same machine at the same time, by "
          << (e.uses_cpu_clock() ? "CPU time" : "wall time") << ".\n"
          << (e.fresh_state ? "Each timed call gets a new process: nothing can be kept from call to call.\n" : "");
  console.out << wrap(facts.str(), columns, "  ");

  if (!e.hints.empty()) {
    section("Hints");
    int given = std::min<int>(hints, static_cast<int>(e.hints.size()));
    for (int i = 0; i < given; ++i)
      console.out << wrap(std::to_string(i + 1) + ". " + e.hints[static_cast<size_t>(i)], columns, "  ");
    if (int left = static_cast<int>(e.hints.size()) - given; left > 0)
      console.out << "  " << left << (given > 0 ? " more" : "") << (left == 1 ? " hint" : " hints") << ": perigee show "
                  << e.id << " --hints " << given + 1 << '\n';
  }
  console.out << "\nNext: perigee start " << e.id << ", edit " << e.id << ".lua, then perigee check " << e.id << '\n';
  return 0;
}

int start_exercise(const Context &context, const std::string &id, const fs::path &folder) {
  Catalogue catalogue = context.catalogue();
  const Exercise &e = catalogue.get(id);
  const Console &console = context.console;
  std::error_code error;
  fs::create_directories(folder / e.lesson, error);
  if (error || !fs::is_directory(folder / e.lesson))
    throw UsageError("cannot make the folder " + (folder / e.lesson).string() + ": " +
                     (error ? error.message() : "a file of that name is in the way"));

  // Annotations lie in share/ beside bin/, both in a build tree and where Perigee is installed.
  fs::path annotations = context.program.parent_path().parent_path() / "share" / "perigee" / "annotations";
  ordered_json editor = {{"$schema", "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json"},
                         {"runtime.version", "LuaJIT"},
                         {"runtime.path", {"?.lua"}},
                         {"workspace.library", {annotations.string()}},
                         {"workspace.checkThirdParty", false}};

  fs::path script = folder / e.lesson / (e.name + ".lua"), statement = folder / e.lesson / (e.name + ".md");
  auto report = [&](const fs::path &path, Put put, const char *what) {
    console.out << (put == Put::created ? "  made  " : "  kept  ") << path.lexically_normal().string() << "  " << what
                << '\n';
  };
  Put put = put_file(script, read_text(e.folder / "starter.lua"));
  report(script, put, put == Put::created ? "(edit this)" : "(yours already; not touched)");
  report(statement, put_file(statement, read_text(e.folder / "README.md")), "(what is asked)");
  report(folder / ".luarc.json", put_file(folder / ".luarc.json", editor.dump(2) + "\n"),
         "(for editors that use the Lua language server)");
  console.out << "Next: edit " << script.lexically_normal().string() << ", then ";
  if (folder.lexically_normal() != "." && folder.lexically_normal() != "./")
    console.out << "cd " << folder.lexically_normal().string() << " and ";
  console.out << "perigee check " << e.id << '\n';
  return 0;
}

} // namespace perigee::grader
