// The worker's side of a batch, inside the sandbox. All of it is on the clock, for every candidate alike: decode, call,
// encode, and nothing else.
#include "confined.hpp"

namespace perigee::grader {
namespace {

class WorkerRole : public Role {
 public:
  using Role::Role;

 private:
  Status load() override {
    auto name = settings_.at("name").get<std::string>(), entry = settings_.at("entry").get<std::string>();
    records_ = settings_.value("gpu", false);
    if (records_) {
      // What the script has devices do is recorded, on the simulator, to be counted by a replay elsewhere.
      const bool ready = with_lua([&](lua_State *L) {
        push_core(L, "require");
        lua_pushliteral(L, "gpu");
        lua_call(L, 1, 1);
        lua_getfield(L, -1, "_grading");
        lua_call(L, 0, 1);
        lua_getfield(L, -1, "recorder");
        lua_call(L, 0, 1);
        recorder_ = luaL_ref(L, LUA_REGISTRYINDEX);
      });
      if (!ready)
        return fail_vm(Status::load_error);
    }
    if (pg_vm_load_submission(vm_, script_.data(), script_.size(), name.c_str(), entry.c_str()) != PG_OK)
      return fail_vm(Status::load_error);
    bool ok = with_lua([&](lua_State *L) {
      lua_getfield(L, LUA_REGISTRYINDEX, "perigee.submission");
      lua_getfield(L, -1, entry.c_str());
      entry_ = luaL_ref(L, LUA_REGISTRYINDEX);
    });
    return ok ? Status::ok : fail_vm(Status::load_error);
  }

  Status answer(Command) override {
    uint32_t count = page_.count;
    limits_.bytes = page_.output_bytes;
    if (page_.rank > 0)
      inputs_.assign(count, {});
    else if (!frames::unpack(input_.all(), count, inputs_))
      return fail(Status::internal, "the inputs are not frames");
    output_.start(records_ ? 2 * count : count);
    page_.progress = current_ = 0;
    status_ = Status::ok;
    bool ok = with_lua([this](lua_State *L) { run(L); });
    page_.failed = current_;
    if (!ok)
      return fail_vm(Status::script_error);
    report(page_.output, output_.bytes().data(), output_.bytes().size());
    return status_;
  }

  void run(lua_State *L) {
    lua_createtable(L, int(inputs_.size()), 0); // keeps results alive, whose memory is read after the batch
    const int results = lua_gettop(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, "perigee.results");
    for (; current_ < inputs_.size(); ++current_) {
      if (page_.rank > 0) { // called without arguments, and its results are nobody's
        lua_rawgeti(L, LUA_REGISTRYINDEX, entry_);
        lua_call(L, 0, 0);
        page_.progress.store(current_ + 1, std::memory_order_relaxed);
        continue;
      }
      if (records_)
        lua_rawgeti(L, LUA_REGISTRYINDEX, recorder_);
      lua_rawgeti(L, LUA_REGISTRYINDEX, entry_);
      int arguments = wire::decode_arguments(L, inputs_[current_], {}, bridge_, reason_);
      if (arguments < 0) {
        status_ = fail(Status::internal, "inputs: " + reason_);
        return;
      }
      if (records_)
        lua_call(L, arguments + 1, 2); // the record and the result
      else
        lua_call(L, arguments, 1);
      if (lua_isnil(L, -1)) {
        status_ = fail(Status::bad_result, "the function returned nothing (nil)");
        return;
      }
      if (!encoder_->encode(L, -1, limits_)) {
        status_ =
            fail(encoder_->too_large() ? Status::output_limit : Status::bad_result, "the result " + encoder_->error());
        return;
      }
      output_.added(encoder_->append(output_.bytes(), true));
      lua_rawseti(L, results, int(current_) + 1);
      if (records_) {
        if (!encoder_->encode(L, -1, {})) {
          status_ = fail(Status::internal, "the record of the device " + encoder_->error());
          return;
        }
        output_.added(encoder_->append(output_.bytes(), true));
        lua_rawseti(L, results, -1 - int(current_));
      }
      page_.progress.store(current_ + 1, std::memory_order_relaxed);
    }
  }

  int entry_ = LUA_NOREF, recorder_ = LUA_NOREF;
  bool records_ = false;
  std::vector<frames::Blob> inputs_;
  wire::Limits limits_;
  uint32_t current_ = 0;
  Status status_ = Status::ok;
  std::string reason_;
};

} // namespace

std::unique_ptr<Role> make_worker(ControlPage &page, nlohmann::json settings, std::string script) {
  return std::make_unique<WorkerRole>(page, std::move(settings), std::move(script));
}

} // namespace perigee::grader
