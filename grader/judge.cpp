#include "judge.hpp"

#include "channel.hpp"
#include "frames.hpp"
#include "mutants.hpp"

#include "core/wire.hpp"

#include <nlohmann/json.hpp>

#include <fstream>
#include <iterator>

namespace perigee::grader {
namespace {

using nlohmann::json;

std::string read_file(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file)
    throw InfrastructureError("cannot read " + path.string());
  return text;
}

// The judge did not answer a request.
struct NoAnswer {
  std::string reason;
};

} // namespace

struct Judge::Impl {
  Impl(const Exercise &exercise, const JudgeOptions &options)
      : exercise(exercise), options(options), script(read_file(exercise.folder / "cases.lua")) {
    start();
  }

  void start() {
    ChannelOptions channel_options;
    channel_options.role = "judge";
    channel_options.memory_bytes = options.memory_bytes;
    channel_options.require_full = options.require_full;
    channel_options.max_tasks = 2;
    json settings = {
        {"jit", true},
        {"memory", options.memory_bytes / 2},
        {"modules", nullptr},
        {"may_thread", false},
        {"threads", 1},
        {"tolerance", {exercise.tolerance.relative, exercise.tolerance.absolute, exercise.tolerance.nan_equal}}};
    channel.reset();
    channel = std::make_unique<Channel>(channel_options, settings, script);
    try {
      json loaded = parse(command(Command::load, 1)[0]);
      has_expected = loaded.at("expected").get<bool>();
    } catch (const NoAnswer &none) {
      throw broken(none);
    }
  }

  InfrastructureError broken(const NoAnswer &none) {
    return InfrastructureError("exercise " + exercise.id + ": " + none.reason);
  }

  static json parse(const Bytes &text) {
    json value = json::parse(reinterpret_cast<const char *>(text.data()),
                             reinterpret_cast<const char *>(text.data()) + text.size(), nullptr, false);
    if (!value.is_object())
      throw NoAnswer{"the judge's answer is not JSON"};
    return value;
  }

  // Runs a command that answers with `count` frames.
  std::vector<Bytes> command(Command command, std::size_t count) {
    channel->post(command);
    Channel::Wait result = channel->wait(options.call_seconds, options.call_seconds);
    if (result == Channel::Wait::gone) {
      auto info = channel->sandbox().exit_info();
      throw NoAnswer{"cases.lua's process ended: " + (info ? info->describe() : "for an unknown reason")};
    }
    if (result == Channel::Wait::late) {
      channel->sandbox().kill();
      char text[80];
      std::snprintf(text, sizeof text, "cases.lua took longer than %g s", options.call_seconds);
      throw NoAnswer{text};
    }
    if (channel->page().status != Status::ok)
      throw NoAnswer{channel->text()};
    Bytes answer;
    std::vector<frames::Blob> blobs;
    if (count == 0)
      return {};
    if (!channel->read(channel->page().output, uint64_t(options.memory_bytes), answer) ||
        !frames::unpack(answer, count, blobs))
      throw NoAnswer{"the judge's answer is malformed"};
    std::vector<Bytes> out;
    for (frames::Blob blob : blobs)
      out.emplace_back(blob.begin(), blob.end());
    return out;
  }

  // Sends a request, its JSON first; starts a new process if the last one is gone.
  std::vector<Bytes> request(const json &header, std::vector<frames::Blob> blobs, std::size_t answers) {
    try {
      return send(header, blobs, answers);
    } catch (const WorkerGone &) {
      throw NoAnswer{"cases.lua's process ended"};
    }
  }

  std::vector<Bytes> send(const json &header, std::vector<frames::Blob> &blobs, std::size_t answers) {
    if (!channel->sandbox().alive())
      start();
    std::string text = header.dump();
    blobs.insert(blobs.begin(), std::as_bytes(std::span(text)));
    std::size_t total = frames::table_bytes(blobs.size());
    for (frames::Blob blob : blobs)
      total += frames::aligned(blob.size());
    frames::Writer writer;
    writer.bytes().reserve(total);
    writer.start(blobs.size());
    for (frames::Blob blob : blobs)
      writer.add(blob);
    channel->page().capacity = total;
    command(Command::prepare, 0);
    uint64_t address = channel->page().input.address;
    if (channel->page().input.bytes < total ||
        !channel->sandbox().write_memory(address, writer.bytes().data(), writer.bytes().size()))
      throw NoAnswer{"the judge takes no requests"};
    channel->page().count = uint32_t(blobs.size());
    return command(Command::request, answers);
  }

  // Blobs that the judge made are parsed in the supervisor only to find their arrays.
  std::vector<Bytes> checked(std::vector<Bytes> blobs) {
    std::string error;
    for (const Bytes &blob : blobs)
      if (!wire::check(blob, {}, false, error))
        throw NoAnswer{"the judge's answer is malformed: " + error};
    return blobs;
  }

  json ask(std::span<const Bytes> inputs, std::span<const Bytes> got, std::span<const Bytes> expected,
           const std::optional<CallInfo> &info, std::span<const Bytes> records = {}) {
    json header = {{"what", "check"}, {"info", nullptr}, {"records", !records.empty()}};
    if (info)
      header["info"] = {{"wall", info->wall}, {"cpu", info->cpu}};
    std::vector<frames::Blob> blobs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      blobs.emplace_back(inputs[i]);
      blobs.emplace_back(got[i]);
      blobs.emplace_back(expected[i]);
      if (!records.empty())
        blobs.emplace_back(records[i]);
    }
    return parse(request(header, std::move(blobs), 1)[0]);
  }

  // Of one call that could not be checked: the result's fault, unless the expected result fares no better.
  Check blame(std::span<const Bytes> inputs, std::span<const Bytes> expected, std::size_t call,
              const std::optional<CallInfo> &info, const std::string &error) {
    try {
      json verdict = ask(inputs.subspan(call, 1), expected.subspan(call, 1), expected.subspan(call, 1), info);
      if (verdict.value("ok", false))
        return {false, call, "the result cannot be checked: " + error};
      throw NoAnswer{"check does not accept the expected result: " +
                     verdict.value("message", verdict.value("error", std::string()))};
    } catch (const NoAnswer &none) {
      throw broken(none);
    }
  }

  Check check(std::span<const Bytes> inputs, std::span<const Bytes> got, std::span<const Bytes> expected,
              const std::optional<CallInfo> &info, std::span<const Bytes> records) {
    if (got.size() != inputs.size() || expected.size() != inputs.size() ||
        (!records.empty() && records.size() != inputs.size()))
      throw std::logic_error("Judge::check: as many results as inputs are needed");
    Check result;
    try {
      json verdict = ask(inputs, got, expected, info, records);
      if (verdict.value("ok", false)) {
        if (verdict.contains("counts"))
          result.counts = verdict.at("counts").get<std::map<std::string, double>>();
        return result;
      }
      auto call = verdict.value("call", std::size_t(0));
      if (call >= inputs.size())
        throw NoAnswer{"the judge's answer is malformed"};
      if (verdict.contains("error"))
        result = blame(inputs, expected, call, info, verdict.value("error", std::string()));
      else
        result = {false, call, verdict.value("message", std::string())};
    } catch (const NoAnswer &none) {
      result = find_culprit(inputs, got, expected, info, records, none);
    }
    result.message = clean_text(result.message);
    return result;
  }

  // The judge hung or died somewhere in the batch: check call by call.
  Check find_culprit(std::span<const Bytes> inputs, std::span<const Bytes> got, std::span<const Bytes> expected,
                     const std::optional<CallInfo> &info, std::span<const Bytes> records, const NoAnswer &none) {
    if (inputs.size() == 1)
      return blame(inputs, expected, 0, info, none.reason);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      Check one = check(inputs.subspan(i, 1), got.subspan(i, 1), expected.subspan(i, 1), info,
                        records.empty() ? records : records.subspan(i, 1));
      if (!one.ok) {
        one.call = i;
        return one;
      }
    }
    return {}; // each of them is right
  }

  const Exercise exercise;
  const JudgeOptions options;
  const std::string script;
  std::unique_ptr<Channel> channel;
  bool has_expected = false;
};

Judge::Judge(const Exercise &exercise, const JudgeOptions &options)
    : impl_(std::make_unique<Impl>(exercise, options)) {}
Judge::~Judge() = default;
Judge::Judge(Judge &&) noexcept = default;
Judge &Judge::operator=(Judge &&) noexcept = default;

std::vector<Bytes> Judge::inputs(std::span<const Key> keys, const Case &c) {
  try {
    json header = {{"what", "inputs"}, {"keys", json::array()}, {"size", json::parse(c.size_json)}};
    for (const Key &key : keys)
      header["keys"].push_back(key);
    return impl_->checked(impl_->request(header, {}, keys.size()));
  } catch (const NoAnswer &none) {
    throw impl_->broken(none);
  }
}

bool Judge::has_expected() const {
  return impl_->has_expected;
}

std::vector<Bytes> Judge::expected(std::span<const Bytes> inputs) {
  try {
    return impl_->checked(impl_->request({{"what", "expected"}}, {inputs.begin(), inputs.end()}, inputs.size()));
  } catch (const NoAnswer &none) {
    throw impl_->broken(none);
  }
}

Check Judge::check(std::span<const Bytes> inputs, std::span<const Bytes> got, std::span<const Bytes> expected,
                   const std::optional<CallInfo> &info, std::span<const Bytes> records) {
  return impl_->check(inputs, got, expected, info, records);
}

std::optional<Bytes> Judge::mutate(const Bytes &result, const std::string &mutant) {
  return make_mutant(result, mutant, impl_->exercise.tolerance);
}

std::vector<std::string> Judge::unprotected() const {
  return impl_->channel->sandbox().unprotected();
}

} // namespace perigee::grader
