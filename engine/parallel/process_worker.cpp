// A worker process, seen from inside.
#include "parallel/process_worker.hpp"

#include "core/status.hpp"
#include "parallel/pool_lua.hpp"
#include "parallel/remote.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace perigee::parallel {
namespace {

class WorkerProcess {
 public:
  explicit WorkerProcess(Channel &channel)
      : channel_(channel), courier_({number_of, borrow, nullptr}),
        side_{[this](const Remote &object, const RemoteCall &call, Participant *me) { return ask(object, call, me); },
              borrow,
              [this](uint64_t number) { channel_.send(static_cast<uint32_t>(ProcessPacket::drop), number, {}); }} {
    set_remote_side(&side_);
  }
  ~WorkerProcess() { set_remote_side(nullptr); }

  // Answers until the channel ends.
  void serve() {
    for (;;) {
      Packet packet;
      if (!channel_.receive(packet) || !answer(packet))
        return;
    }
  }

 private:
  static uint64_t number_of(const Ref<> &object) {
    if (!object->remote)
      refuse_to_send(*object, "this one was made in the worker: make it before, and send it there");
    return static_cast<const Remote &>(*object).number;
  }
  static Ref<> borrow(uint64_t number, int32_t kind, const WordPlace &place) {
    return Ref<>(new Remote(static_cast<pg_shared_kind>(kind), number, place));
  }

  // Asks the parent for an operation on one of its objects, and waits for what it comes to.
  RemoteResult ask(const Remote &object, const RemoteCall &call, Participant *me) {
    if (std::this_thread::get_id() != thread_)
      throw UnsupportedError(std::string("this ") + kind_name(object.kind) +
                             " belongs to the process that started this one: only the task itself may use it, and not "
                             "its own pool's workers");
    Writer writer;
    writer.put(object.number);
    writer.put(call.op);
    writer.put(call.a);
    writer.put(call.b);
    writer.put_text(call.where);
    writer.put(static_cast<uint8_t>(call.parcel));
    if (call.parcel) {
      Courier::Sending sending(courier_);
      courier_.put(writer, *me->parcel);
      sending.done();
    }
    Packet packet;
    if (!channel_.send(static_cast<uint32_t>(ProcessPacket::call), 0, writer.bytes, writer.extents) ||
        !channel_.receive(packet) || packet.kind != static_cast<uint32_t>(ProcessPacket::returned))
      std::_Exit(0); // nobody waits for this process any more
    Reader reader(packet);
    RemoteResult result;
    result.status = reader.get<int32_t>();
    result.message = reader.get_text();
    result.value = reader.get<double>();
    result.more = reader.get<double>();
    result.parcel = reader.get<uint8_t>() != 0;
    if (call.parcel && (result.status != 0 || result.value != 0))
      me->parcel.reset();
    if (result.parcel)
      me->parcel = std::make_unique<Message>(courier_.get(reader));
    if (packet.failure)
      std::rethrow_exception(packet.failure);
    return result;
  }

  bool answer(Packet &packet) {
    switch (static_cast<ProcessPacket>(packet.kind)) {
    case ProcessPacket::echo:
      for (Extent &extent : packet.extents)
        extent = {extent.block, 0, extent.last - extent.first};
      return channel_.send(packet.kind, packet.tag, packet.bytes, packet.extents);
    case ProcessPacket::die:
      std::fflush(stdout);
      if (packet.tag < 128)
        std::_Exit(static_cast<int>(packet.tag));
      std::signal(static_cast<int>(packet.tag - 128), SIG_DFL);
      raise(static_cast<int>(packet.tag - 128));
      return false;
    case ProcessPacket::open:
      return reply([&] { return open(packet); });
    case ProcessPacket::task:
      return reply([&] { return run(packet); });
    default:
      return false;
    }
  }

  // Sends what `body` gives, or why it gives nothing.
  template <class Body> bool reply(Body &&body) {
    Outcome outcome;
    Writer writer;
    int64_t held = 0; // locks that it has taken or given back itself, for the parent to know
    auto put_held = [&] {
      if (participant_)
        held += std::exchange(participant_->held_abroad, 0);
      writer.put(held);
    };
    try {
      outcome = body();
      put_held();
      std::fflush(stdout); // what the task has printed comes before what the script prints of its result
      Courier::Sending sending(courier_);
      put_outcome(writer, courier_, outcome);
      sending.done();
    } catch (const std::exception &e) {
      outcome = {};
      outcome.error = e.what();
      writer = {};
      put_held();
      put_outcome(writer, courier_, outcome);
    }
    return channel_.send(static_cast<uint32_t>(ProcessPacket::outcome), 0, writer.bytes, writer.extents);
  }

  Outcome open(const Packet &packet) {
    Reader reader(packet);
    number_ = reader.get<int32_t>();
    pg_vm_options options{};
    options.struct_size = sizeof options;
    options.trusted = reader.get<int32_t>();
    options.jit_off = reader.get<int32_t>();
    options.memory_limit = reader.get<int64_t>();
    const bool modules = reader.get<uint8_t>() != 0;
    const std::string module_names(reader.get_text());
    const bool root = reader.get<uint8_t>() != 0;
    const std::string script_root(reader.get_text());
    options.modules = modules ? module_names.c_str() : nullptr;
    options.script_root = root ? script_root.c_str() : nullptr;
    if (reader.get<uint8_t>() != 0) {
      options.print_user = this;
      options.print = [](void *user, const char *text, size_t size) {
        auto *self = static_cast<WorkerProcess *>(user);
        Writer writer;
        writer.put_text({text, size});
        self->channel_.send(static_cast<uint32_t>(ProcessPacket::print), 0, writer.bytes);
      };
    }
    participant_ = std::make_unique<Participant>("worker " + std::to_string(number_));
    of_thread_ = std::make_unique<ThreadParticipant>(*participant_);
    executor_ = make_lua_executor(std::make_shared<Parent>(options, std::make_shared<std::recursive_mutex>()));
    worker_.executor = executor_.get();
    worker_.number = number_;
    become_worker(&worker_);
    Outcome outcome;
    outcome.ok = true;
    return outcome;
  }

  Outcome run(const Packet &packet) {
    Reader reader(packet);
    participant_->abroad = reader.get<uint64_t>();
    const auto id = reader.get<uint64_t>();
    if (reader.get<uint8_t>() != 0) {
      Known &place = jobs_[next_job_];
      next_job_ = (next_job_ + 1) % jobs_kept;
      place = {id, {}};
      place.job = Ref<Job>(new Job(courier_.get(reader)));
    }
    Ref<Job> job;
    for (const Known &known : jobs_)
      if (id != 0 && known.id == id)
        job = known.job;
    if (id != 0 && !job)
      throw InternalError("a job was lost between processes");
    const Ref<Future> task(new Future(0, job, courier_.get(reader)));
    if (packet.failure)
      std::rethrow_exception(packet.failure);
    Outcome outcome = executor_->run(*task);
    participant_->end_task();
    return outcome;
  }

  struct Known {
    uint64_t id = 0;
    Ref<Job> job;
  };

  Channel &channel_;
  Courier courier_;
  RemoteSide side_;
  const std::thread::id thread_ = std::this_thread::get_id();
  int number_ = 0;
  std::unique_ptr<Participant> participant_;
  std::unique_ptr<ThreadParticipant> of_thread_;
  std::unique_ptr<Executor> executor_;
  Worker worker_{};
  std::array<Known, jobs_kept> jobs_;
  std::size_t next_job_ = 0;
};

} // namespace
} // namespace perigee::parallel

using namespace perigee;
using namespace perigee::parallel;

int32_t pg_process_main(int32_t argument_count, char **arguments) {
  // The kernel ends this process with the thread that started it; where that is gone already, nobody waits.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (argument_count != 2 || std::atoi(arguments[1]) <= 0) {
    std::fputs("perigee-process: Perigee starts this program itself, as a worker of a pool of processes "
               "(perigee.parallel)\n",
               stderr);
    return 2;
  }
  if (getppid() != std::atoi(arguments[1]))
    return 0;
  try {
    Channel channel(Descriptor(3), Channel::Role::worker);
    WorkerProcess(channel).serve();
  } catch (const std::exception &error) {
    std::fprintf(stderr, "perigee-process: %s\n", error.what());
    return 3;
  }
  return 0;
}
