// Worker processes: what is sent arrives, however large; shared memory is shared; no process, descriptor or mapping is
// left behind, however a process ends.
#include <catch2/catch.hpp>

#include "core/status.hpp"
#include "engine/array_helpers.hpp"
#include "parallel/process_worker.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>

using namespace perigee;
using namespace perigee::array;
using namespace perigee::parallel;

namespace {

constexpr auto echo = static_cast<uint32_t>(ProcessPacket::echo);
constexpr auto die = static_cast<uint32_t>(ProcessPacket::die);

std::vector<std::byte> bytes_of(int64_t count) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

int open_descriptors() {
  int count = 0;
  for ([[maybe_unused]] const auto &entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

Extent whole(const Array &a) {
  return {a->_block, 0, a->_block->bytes};
}

} // namespace

TEST_CASE("messages of any size come back as they went", "[process]") {
  Process worker;
  for (int64_t size : {int64_t{0}, int64_t{1}, int64_t{63}, int64_t{4096}, int64_t{131000}, int64_t{131072},
                       int64_t{131073}, int64_t{1} << 20, int64_t{100'000'000}}) {
    INFO(size);
    const auto sent = bytes_of(size);
    REQUIRE(worker.channel().send(echo, static_cast<uint64_t>(size), sent));
    Packet back;
    REQUIRE(worker.channel().receive(back));
    CHECK(back.kind == echo);
    CHECK(back.tag == static_cast<uint64_t>(size));
    CHECK((back.bytes == sent));
    CHECK(back.extents.empty());
  }
}

TEST_CASE("memory of arrays is copied, from its first byte used to its last", "[process]") {
  Process worker;
  for (int64_t count : {0, 10, 20'000, 1'000'000}) {
    INFO(count);
    Array a = create(PG_FLOAT64, std::vector<int64_t>{count});
    for (int64_t i = 0; i < count; ++i)
      put(*a, i, static_cast<double>(i));
    Array small = create(PG_INT32, std::vector<int64_t>{3});
    put(*small, 2, 42);
    const Extent part{a->_block, count / 2 * 8, count * 8};
    const auto text = bytes_of(5);
    REQUIRE(worker.channel().send(echo, 1, text, std::vector<Extent>{part, whole(small)}));
    Packet back;
    REQUIRE(worker.channel().receive(back));
    CHECK((back.bytes == text));
    REQUIRE(back.extents.size() == 2);
    CHECK(back.extents[0].first == 0);
    CHECK(back.extents[0].last == (count - count / 2) * 8);
    CHECK(back.extents[0].block != a->_block);
    CHECK(std::memcmp(back.extents[0].block->memory, a.data<double>() + count / 2,
                      static_cast<std::size_t>((count - count / 2) * 8)) == 0);
    CHECK(static_cast<int32_t *>(back.extents[1].block->memory)[2] == 42);
  }
}

TEST_CASE("shared arrays are the same memory in all processes", "[process]") {
  const int before = open_descriptors();
  {
    Process one, two;
    Array a = create_shared(PG_FLOAT64, std::vector<int64_t>{300, 7});
    CHECK(get(*a, 2099) == 0);
    CHECK(Segment::of(a->_block));
    CHECK(!Segment::of(create(PG_FLOAT64, std::vector<int64_t>{3})->_block));
    put(*a, 5, 5);
    for (int round = 0; round < 3; ++round)
      for (Process *worker : {&one, &two}) {
        REQUIRE(worker->channel().send(echo, 1, {}, std::vector<Extent>{whole(a)}));
        Packet back;
        REQUIRE(worker->channel().receive(back));
        REQUIRE(back.extents.size() == 1);
        CHECK(Segment::of(back.extents[0].block) == Segment::of(a->_block));
        CHECK(back.extents[0].block->memory == a->_block->memory);
      }
    CHECK(open_descriptors() == before + 5); // two channels, two processes, one array
    const uint64_t id = Segment::of(a->_block)->id();
    a = Array();
    CHECK(Segment::find(id) == nullptr);
    Array b = create_shared(PG_INT8, std::vector<int64_t>{0});
    REQUIRE(one.channel().send(echo, 1, {}, std::vector<Extent>{whole(b)}));
    Packet back;
    REQUIRE(one.channel().receive(back));
    CHECK(back.extents[0].last == 0);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("many shared arrays in one message", "[process]") {
  Process worker;
  std::vector<Array> arrays;
  std::vector<Extent> extents;
  for (int i = 0; i < 300; ++i) { // more than the kernel passes at once
    arrays.push_back(create_shared(PG_INT32, std::vector<int64_t>{1}));
    put(*arrays.back(), 0, i);
    extents.push_back(whole(arrays.back()));
  }
  for (int round = 0; round < 2; ++round) {
    REQUIRE(worker.channel().send(echo, 1, bytes_of(200'000), extents));
    Packet back;
    REQUIRE(worker.channel().receive(back));
    REQUIRE(back.extents.size() == 300);
    for (int i = 0; i < 300; ++i)
      CHECK(back.extents[static_cast<std::size_t>(i)].block->memory ==
            extents[static_cast<std::size_t>(i)].block->memory);
  }
}

TEST_CASE("a worker's end is noticed and worded", "[process]") {
  const std::pair<uint64_t, const char *> ends[] = {{0, "ended with exit code 0"},
                                                    {3, "ended with exit code 3"},
                                                    {128 + SIGTERM, "was killed by signal 15"},
                                                    {128 + SIGKILL, "was killed by signal 9 (by somebody, or because "
                                                                    "this machine ran out of memory)"}};
  for (auto [tag, words] : ends) {
    Process worker;
    REQUIRE(worker.channel().send(die, tag, {}));
    Packet none;
    CHECK_FALSE(worker.channel().receive(none));
    CHECK(worker.bury() == words);
    CHECK_FALSE(worker.channel().send(echo, 1, bytes_of(1'000'000)));
  }
  Process killed; // from outside, with a message on its way
  killed.kill(SIGSTOP);
  REQUIRE(killed.channel().send(echo, 1, bytes_of(1000)));
  killed.kill(SIGKILL);
  Packet none;
  CHECK_FALSE(killed.channel().receive(none));
  CHECK(killed.bury().find("was killed by signal 9") == 0);
}

TEST_CASE("a hundred pools leave nothing behind", "[process]") {
  const int before = open_descriptors();
  for (int round = 0; round < 100; ++round) {
    std::vector<std::unique_ptr<Process>> workers;
    for (int i = 0; i < 2; ++i)
      workers.push_back(std::make_unique<Process>());
    Array shared = create_shared(PG_FLOAT64, std::vector<int64_t>{1000});
    Array large = create(PG_FLOAT64, std::vector<int64_t>{30'000});
    for (auto &worker : workers)
      REQUIRE(worker->channel().send(echo, 1, {}, std::vector<Extent>{whole(shared), whole(large)}));
    Packet back;
    if (round % 2 == 0)
      REQUIRE(workers[0]->channel().receive(back));
  }
  CHECK(open_descriptors() == before);
  CHECK(waitpid(-1, nullptr, WNOHANG) == -1); // no child is left
}

TEST_CASE("workers of a killed parent end too", "[process]") {
  REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0); // orphans become children of this process
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  const pid_t parent = fork();
  REQUIRE(parent >= 0);
  if (parent == 0) {
    close(pipe_ends[0]);
    auto *idle = new Process, *stopped = new Process;
    Packet back; // both have begun
    if (!stopped->channel().send(echo, 1, {}) || !stopped->channel().receive(back))
      _exit(1);
    stopped->kill(SIGSTOP); // it reads no end of file
    const pid_t pids[] = {idle->pid(), stopped->pid()};
    if (write(pipe_ends[1], pids, sizeof pids) != sizeof pids)
      _exit(1);
    pause();
    _exit(1);
  }
  close(pipe_ends[1]);
  pid_t pids[2] = {};
  CHECK(read(pipe_ends[0], pids, sizeof pids) == sizeof pids);
  close(pipe_ends[0]);
  REQUIRE(kill(parent, SIGKILL) == 0);
  CHECK(waitpid(parent, nullptr, 0) == parent);
  for (pid_t pid : pids)
    if (pid > 0) {
      CHECK(waitpid(pid, nullptr, 0) == pid);
    }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_CASE("processes are refused where they are forbidden", "[process]") {
  forbid_processes("no processes here");
  CHECK_THROWS_WITH(Process(), "no processes here");
  pg_vm *vm = nullptr;
  REQUIRE(pg_vm_create(nullptr, &vm) == PG_OK);
  const std::string script = "require('perigee.parallel').processes(2)";
  CHECK(pg_vm_run(vm, script.data(), script.size(), "t.lua", nullptr, 0, nullptr) == PG_ERROR_RUNTIME);
  CHECK(std::string(pg_vm_error(vm)->message) == "not supported: no processes here");
  forbid_processes(nullptr);
  CHECK(pg_vm_run(vm, script.data(), script.size(), "t.lua", nullptr, 0, nullptr) == PG_OK);
  pg_vm_destroy(vm);
  Process works;
}
