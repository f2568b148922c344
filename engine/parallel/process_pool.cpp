// Executors whose worker is a process: tasks go there, and their outcomes come back.
#include "core/status.hpp"
#include "parallel/pool_lua.hpp"
#include "parallel/process_worker.hpp"
#include "parallel/remote.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <unordered_map>

namespace perigee::parallel {
namespace {

constexpr int slice = 100, moment = 2000; // milliseconds

class ProcessExecutor final : public Executor {
 public:
  ProcessExecutor(std::shared_ptr<Parent> parent, int number)
      : parent_(std::move(parent)), number_(number),
        courier_({[this](const Ref<> &object) { return lend(object); },
                  [this](uint64_t object, int32_t, const WordPlace &) { return lent(object); },
                  [this](uint64_t object) { take_back(object); }}) {
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
    Writer writer;
    const uint64_t job = task.job ? task.job->id : 0;
    const bool fresh = job != 0 && std::find(jobs_.begin(), jobs_.end(), job) == jobs_.end();
    try {
      Courier::Sending sending(courier_);
      writer.put(ThreadParticipant::current()->token.load());
      writer.put(job);
      writer.put(static_cast<uint8_t>(fresh));
      if (fresh)
        courier_.put(writer, task.job->message);
      courier_.put(writer, task.message);
      sending.done();
    } catch (const std::exception &e) {
      outcome.error = e.what();
      return outcome;
    }
    outcome = ask(ProcessPacket::task, writer);
    if (fresh) {
      jobs_[next_job_] = outcome.ok ? job : 0; // else it may not have arrived
      next_job_ = (next_job_ + 1) % jobs_kept;
    }
    if (process_dead_) {
      outcome.broken = true;
      const std::string who = "worker " + std::to_string(number_);
      const char *during = task.number > 0 ? " while it ran this task; another takes its place" : ""; // 0: initialiser
      outcome.error =
          interrupted() ? "interrupted by Ctrl-C: " + who + " " + outcome.error : who + " " + outcome.error + during;
    }
    return outcome;
  }

  bool alive() const override { return !process_dead_; }

 private:
  // Objects stay here, and the worker calls (remote.hpp). It knows them by their addresses.
  uint64_t lend(const Ref<> &object) {
    switch (object->kind) {
    case PG_SHARED_FUTURE:
      refuse_to_send(*object, "send what it results in");
    case PG_SHARED_POOL:
      refuse_to_send(*object, "make one in the worker, or submit tasks from here");
    case PG_SHARED_JOB:
      refuse_to_send(*object, "it is this process's own");
    default:
      break;
    }
    if (object->remote)
      refuse_to_send(*object, "it belongs to another process than this one");
    const auto number = reinterpret_cast<uint64_t>(object.get());
    Lent &entry = lent_[number];
    entry.object = object;
    ++entry.times;
    return number;
  }
  Ref<> lent(uint64_t number) const {
    const auto found = lent_.find(number);
    if (found == lent_.end())
      throw InternalError("a worker process has sent an unknown object");
    return found->second.object;
  }
  void take_back(uint64_t number) {
    const auto found = lent_.find(number);
    if (found != lent_.end() && --found->second.times == 0)
      lent_.erase(found);
  }

  // Performs a call of the worker's.
  bool call(Reader &reader) {
    Participant &me = *ThreadParticipant::current();
    RemoteCall call{};
    const Ref<> object = lent(reader.get<uint64_t>());
    call.op = reader.get<RemoteOp>();
    call.a = reader.get<double>();
    call.b = reader.get<double>();
    const std::string where(reader.get_text());
    call.parcel = reader.get<uint8_t>() != 0;
    if (call.parcel)
      me.parcel = std::make_unique<Message>(courier_.get(reader));
    pg_participant_at(&me, where.c_str());
    RemoteResult result;
    if (const std::string lacking = reader.packet.why_failed(); !lacking.empty()) {
      result.status = PG_ERROR_MEMORY;
      result.message = lacking;
    } else {
      result = perform(object.get(), call, me);
    }
    Courier::Sending sending(courier_);
    if (call.op == RemoteOp::condition_mutex) {
      pg_shared mutex{};
      pg_condition_mutex(object.get(), &mutex);
      result.value = static_cast<double>(lend(Ref<>(static_cast<Shared *>(mutex._object))));
    }
    Writer writer;
    writer.put(result.status);
    writer.put_text(result.message);
    writer.put(result.value);
    writer.put(result.more);
    writer.put(static_cast<uint8_t>(result.parcel));
    if (result.parcel)
      courier_.put(writer, *std::exchange(me.parcel, nullptr));
    sending.done();
    return process_.channel().send(static_cast<uint32_t>(ProcessPacket::returned), 0, writer.bytes, writer.extents);
  }

  // Sends a request and serves the worker until the answer is there.
  Outcome ask(ProcessPacket request, const Writer &writer) {
    Channel &channel = process_.channel();
    const Serving serving(channel);
    Packet packet;
    std::string wrong;
    bool there = true;
    try {
      there = channel.send(static_cast<uint32_t>(request), 0, writer.bytes, writer.extents);
      while (there && (await(channel), there = channel.receive(packet))) {
        Reader reader(packet);
        switch (static_cast<ProcessPacket>(packet.kind)) {
        case ProcessPacket::outcome: {
          ThreadParticipant::current()->held += reader.get<int64_t>();
          Outcome outcome = get_outcome(reader, courier_);
          if (const std::string lacking = packet.why_failed(); !lacking.empty()) {
            outcome = {};
            outcome.error = lacking;
          }
          return outcome;
        }
        case ProcessPacket::print: {
          const std::string_view text = reader.get_text();
          parent_->print(text.data(), text.size());
          break;
        }
        case ProcessPacket::call:
          there = call(reader);
          break;
        case ProcessPacket::drop:
          take_back(packet.tag);
          break;
        default:
          there = false;
        }
      }
    } catch (const std::exception &e) { // a packet that makes no sense: the process has written over its own memory
      wrong = e.what();
    }
    process_dead_ = true;
    ThreadParticipant::current()->held = 1; // it may have: with its token, they are abandoned
    Outcome outcome;
    outcome.error = process_.bury();
    if (!wrong.empty())
      outcome.error = "was ended (" + wrong + ")";
    return outcome;
  }

  // Waits for the worker's next word. Of a pool that was let go, a task has a moment to end; then its process is ended.
  void await(Channel &channel) {
    const std::atomic<int32_t> *let_go = ThreadParticipant::current()->interrupt;
    for (int left = moment; !channel.wait(slice) && left > 0;)
      if (let_go && let_go->load() != 0 && (left -= slice) <= 0)
        process_.kill(SIGKILL);
  }

  // While a worker is served: waits on its behalf end with it.
  struct Serving {
    explicit Serving(Channel &channel) {
      Participant &me = *ThreadParticipant::current();
      me.process = &channel;
      me.gone = [](void *process) { return static_cast<Channel *>(process)->ended(); };
    }
    ~Serving() { ThreadParticipant::current()->gone = nullptr; }
  };
  struct Lent {
    Ref<> object;
    int64_t times = 0; // how often the worker was sent it, and has not let go of it
  };

  const std::shared_ptr<Parent> parent_;
  const int number_;
  Courier courier_;
  std::unordered_map<uint64_t, Lent> lent_;
  bool process_dead_ = false;
  std::array<uint64_t, jobs_kept> jobs_{};
  std::size_t next_job_ = 0;
  Process process_;
};

} // namespace

std::unique_ptr<Executor> make_process_executor(std::shared_ptr<Parent> parent, int number) {
  return std::make_unique<ProcessExecutor>(std::move(parent), number);
}

void refuse_to_send(const Shared &object, const char *why) {
  throw UnsupportedError(std::string("a ") + kind_name(object.kind) + " cannot be sent to a worker process; " + why);
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
