// Executors whose worker is a process: tasks go there, and their outcomes come back.
#include "core/status.hpp"
#include "parallel/pool_lua.hpp"
#include "parallel/process_worker.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace perigee::parallel {
namespace {

class ProcessExecutor final : public Executor {
 public:
  ProcessExecutor(std::shared_ptr<Parent> parent, int number)
      : parent_(std::move(parent)), number_(number), courier_({number_of, object_of}) {
    const pg_vm_options &options = parent_->options;
    Writer writer;
    writer.put(static_cast<int32_t>(number));
    writer.put(options.trusted);
    writer.put(options.jit_off);
    writer.put(options.memory_limit);
    writer.put(static_cast<uint8_t>(options.modules != nullptr));
    writer.put_text(options.modules ? options.modules : "");
    writer.put(static_cast<uint8_t>(options.script_root != nullptr));
    writer.put_text(options.script_root ? options.script_root : "");
    writer.put(static_cast<uint8_t>(options.print != nullptr));
    const Outcome opened = ask(ProcessPacket::open, writer);
    if (!opened.ok)
      throw UnsupportedError((process_dead_ ? "the process " : "") + opened.error +
                             (process_dead_ ? " before its first task" : ""));
  }

  Outcome run(const Future &task) override {
    Outcome outcome;
    std::fflush(stdout); // what the script has printed comes before what the task prints
    try {
      Writer writer;
      const uint64_t job = task.job ? task.job->id : 0;
      const bool fresh = job != 0 && std::find(jobs_.begin(), jobs_.end(), job) == jobs_.end();
      uint64_t &place = jobs_[next_job_];
      writer.put(job);
      writer.put(static_cast<uint8_t>(fresh));
      if (fresh) {
        courier_.put(writer, task.job->message);
        place = job;
        next_job_ = (next_job_ + 1) % jobs_kept;
      }
      courier_.put(writer, task.message);
      outcome = ask(ProcessPacket::task, writer);
      if (fresh && !outcome.ok)
        place = 0; // it may not have arrived
    } catch (const std::exception &e) {
      outcome.error = e.what();
      return outcome;
    }
    if (process_dead_) {
      outcome.broken = true;
      outcome.error = "worker " + std::to_string(number_) + " " + outcome.error +
                      " while it ran this task; another takes its place";
    }
    return outcome;
  }

  bool alive() const override { return !process_dead_; }

 private:
  // Without shared objects, for now.
  static uint64_t number_of(const Ref<> &object) {
    throw UnsupportedError(std::string("a ") + kind_name(object->kind) +
                           " cannot be sent to a worker process: it lies in the memory of this one");
  }
  static Ref<> object_of(uint64_t, int32_t) { throw InternalError("a worker process has sent an object"); }

  // Sends a request and serves the worker until the answer is there.
  Outcome ask(ProcessPacket request, const Writer &writer) {
    Channel &channel = process_.channel();
    bool there = channel.send(static_cast<uint32_t>(request), 0, writer.bytes, writer.extents);
    Packet packet;
    while (there && (there = channel.receive(packet))) {
      Reader reader(packet);
      switch (static_cast<ProcessPacket>(packet.kind)) {
      case ProcessPacket::outcome:
        return get_outcome(reader, courier_);
      case ProcessPacket::print: {
        const std::string_view text = reader.get_text();
        parent_->print(text.data(), text.size());
        break;
      }
      default:
        there = false;
      }
    }
    process_dead_ = true;
    Outcome outcome;
    outcome.error = process_.bury();
    return outcome;
  }

  const std::shared_ptr<Parent> parent_;
  const int number_;
  Courier courier_;
  bool process_dead_ = false;
  std::array<uint64_t, jobs_kept> jobs_{};
  std::size_t next_job_ = 0;
  Process process_;
};

} // namespace

std::unique_ptr<Executor> make_process_executor(std::shared_ptr<Parent> parent, int number) {
  return std::make_unique<ProcessExecutor>(std::move(parent), number);
}

void put_outcome(Writer &writer, Courier &courier, const Outcome &outcome) {
  writer.put(static_cast<uint8_t>(outcome.ok));
  writer.put_text(outcome.error);
  writer.put_text(outcome.traceback);
  courier.put(writer, outcome.value);
}

Outcome get_outcome(Reader &reader, Courier &courier) {
  Outcome outcome;
  outcome.ok = reader.get<uint8_t>() != 0;
  outcome.error = reader.get_text();
  outcome.traceback = reader.get_text();
  outcome.value = courier.get(reader);
  return outcome;
}

} // namespace perigee::parallel
