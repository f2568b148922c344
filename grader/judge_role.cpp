// The judge's side, inside its sandbox: runs the functions of an exercise's cases.lua. A request is frames in the input
// buffer, the first of them JSON {what, ...}; so is the answer. Nothing is kept between requests.
//   inputs    {keys, size}                     -> the argument lists
//   expected  {}, argument lists               -> their expected results
//   check     {info}, per call: argument list, result, expected result  -> {ok, call, message} or {error, call}
#include "compare.hpp"
#include "confined.hpp"

#include <algorithm>

namespace perigee::grader {
namespace {

using nlohmann::json;

void push_json(lua_State *L, const json &value) {
  luaL_checkstack(L, 8, "the size of a case is nested too deep");
  if (value.is_number()) {
    lua_pushnumber(L, value.get<double>());
  } else if (value.is_boolean()) {
    lua_pushboolean(L, value.get<bool>());
  } else if (value.is_string()) {
    const auto &text = value.get_ref<const std::string &>();
    lua_pushlstring(L, text.data(), text.size());
  } else if (value.is_array()) {
    lua_createtable(L, int(value.size()), 0);
    for (std::size_t i = 0; i < value.size(); ++i) {
      push_json(L, value[i]);
      lua_rawseti(L, -2, int(i) + 1);
    }
  } else if (value.is_object()) {
    lua_createtable(L, 0, int(value.size()));
    for (const auto &[key, item] : value.items()) {
      lua_pushlstring(L, key.data(), key.size());
      push_json(L, item);
      lua_rawset(L, -3);
    }
  } else {
    lua_pushnil(L);
  }
}

class JudgeRole : public Role {
 public:
  using Role::Role;

 private:
  Status load() override {
    bool ok = with_lua([this](lua_State *L) {
      push_core(L, "load_script");
      lua_pushlstring(L, script_.data(), script_.size());
      lua_pushliteral(L, "cases.lua");
      lua_call(L, 2, 4); // the chunk, or nil, the message, file and line
      if (lua_isnil(L, -4))
        luaL_error(L, "cases.lua:%d: %s", int(lua_tointeger(L, -1)), lua_tostring(L, -3));
      lua_pop(L, 3);
      lua_call(L, 0, 1);
      if (!lua_istable(L, -1))
        luaL_error(L, "cases.lua must return a table of functions: inputs, and optionally expected and check");
      inputs_ = function(L, "inputs");
      expected_ = function(L, "expected");
      check_ = function(L, "check");
      if (inputs_ == LUA_NOREF)
        luaL_error(L, "the table that cases.lua returns has no function 'inputs'");
      push_core(L, "require");
      lua_pushliteral(L, "random");
      lua_call(L, 1, 1);
      lua_getfield(L, -1, "_keyed");
      generator_ = luaL_ref(L, LUA_REGISTRYINDEX);
    });
    if (!ok)
      return fail_vm(Status::load_error);
    return answer_json({{"expected", expected_ != LUA_NOREF}});
  }

  static int function(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      return LUA_NOREF;
    }
    if (!lua_isfunction(L, -1))
      luaL_error(L, "'%s' in the table that cases.lua returns is a %s, not a function", name, luaL_typename(L, -1));
    return luaL_ref(L, LUA_REGISTRYINDEX);
  }

  Status answer_json(const json &value) {
    std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    output_.start(1);
    output_.add(std::as_bytes(std::span(text)));
    report(page_.output, output_.bytes().data(), output_.bytes().size());
    return Status::ok;
  }

  Status answer(Command) override {
    if (!frames::unpack(input_.all(), page_.count, blobs_) || blobs_.empty())
      return fail(Status::internal, "the request is not frames");
    auto *text = reinterpret_cast<const char *>(blobs_[0].data());
    request_ = json::parse(text, text + blobs_[0].size());
    what_ = request_.at("what").get<std::string>();
    if (what_ == "check")
      return check();
    std::size_t count = what_ == "inputs" ? request_.at("keys").size() : blobs_.size() - 1;
    output_.start(count);
    bool ok = with_lua([&](lua_State *L) {
      for (std::size_t call = 0; call < count; ++call) {
        if (what_ == "inputs")
          draw(L, call);
        else
          compute(L, blobs_[call + 1]);
        add(L);
        lua_settop(L, 0);
      }
    });
    if (!ok)
      return fail(Status::script_error, "cases.lua: " + what_ + " failed: " + vm_error());
    report(page_.output, output_.bytes().data(), output_.bytes().size());
    return Status::ok;
  }

  void draw(lua_State *L, std::size_t call) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, inputs_);
    lua_rawgeti(L, LUA_REGISTRYINDEX, generator_);
    const json &key = request_["keys"][call];
    for (int i = 0; i < 4; ++i)
      lua_pushnumber(L, key[i].get<double>());
    lua_call(L, 4, 1);
    push_json(L, request_["size"]);
    lua_call(L, 2, 1);
    if (!lua_istable(L, -1))
      luaL_error(L, "inputs must return the list of arguments, got %s", luaL_typename(L, -1));
  }

  void compute(lua_State *L, frames::Blob arguments) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, expected_);
    if (!wire::decode(L, arguments, {}, bridge_, reason_))
      luaL_error(L, "its argument list cannot be read: %s", reason_.c_str());
    lua_call(L, 1, 1);
  }

  // Codes the value at the top of the stack as the next frame.
  void add(lua_State *L) {
    if (!encoder_->encode(L, -1, {}))
      luaL_error(L, "what %s returns %s", what_.c_str(), encoder_->error().c_str());
    output_.added(encoder_->append(output_.bytes(), false));
    encoder_->release();
  }

  Status check() {
    const bool records = request_.value("records", false);
    const std::size_t each = records ? 4 : 3, count = (blobs_.size() - 1) / each;
    json counts;
    const json &t = settings_.at("tolerance");
    Tolerance tolerance{t[0].get<double>(), t[1].get<double>(), t[2].get<bool>()};
    for (std::size_t call = 0; call < count; ++call) {
      std::span<const frames::Blob> blobs(&blobs_[1 + each * call], 3);
      json verdict = check_ == LUA_NOREF ? compare_call(blobs, tolerance) : run_check(blobs, tolerance);
      if (verdict.is_null() && records)
        verdict = replay(blobs, blobs_[1 + each * call + 3], counts);
      if (!verdict.is_null()) {
        verdict["call"] = call;
        return answer_json(verdict);
      }
    }
    json answer = {{"ok", true}};
    if (!counts.is_null())
      answer["counts"] = counts;
    return answer_json(answer);
  }

  // Has the simulator do again what a call had devices do, and counts. The host's part is not there: what was copied to
  // a device must be one of the inputs, and one of the arrays there must become the result.
  json replay(std::span<const frames::Blob> blobs, frames::Blob record, json &counts) {
    bool right = false;
    message_.clear();
    bool ok = with_lua([&](lua_State *L) {
      push_core(L, "require");
      lua_pushliteral(L, "gpu");
      lua_call(L, 1, 1);
      lua_getfield(L, -1, "_grading");
      lua_call(L, 0, 1);
      lua_getfield(L, -1, "replay");
      for (frames::Blob blob : {record, blobs[0], blobs[1]})
        if (!wire::decode(L, blob, {}, bridge_, reason_))
          luaL_error(L, "a value is malformed: %s", reason_.c_str());
      lua_call(L, 3, 2);
      right = lua_istable(L, -2);
      if (!right) {
        std::size_t size = 0;
        if (const char *text = lua_tolstring(L, -1, &size))
          message_.assign(text, size);
        return;
      }
      counts = json::object();
      for (lua_pushnil(L); lua_next(L, -3) != 0; lua_pop(L, 1))
        counts[lua_tostring(L, -2)] = lua_tonumber(L, -1);
    });
    if (!ok)
      return {{"error", vm_error()}};
    return right ? json() : json{{"ok", false}, {"message", message_}};
  }

  json compare_call(std::span<const frames::Blob> blobs, const Tolerance &tolerance) {
    wire::Value got, expected;
    if (!wire::parse(blobs[1], {}, false, got, reason_))
      return {{"ok", false}, {"message", "the result is malformed: " + reason_}};
    if (!wire::parse(blobs[2], {}, false, expected, reason_))
      return {{"error", "the expected result is malformed: " + reason_}};
    Comparison comparison = compare(got, expected, tolerance);
    return comparison.equal ? json() : json{{"ok", false}, {"message", comparison.message}};
  }

  json run_check(std::span<const frames::Blob> blobs, const Tolerance &tolerance) {
    bool accepted = false;
    message_.clear();
    bool ok = with_lua([&](lua_State *L) {
      lua_rawgeti(L, LUA_REGISTRYINDEX, check_);
      for (frames::Blob blob : blobs)
        if (!wire::decode(L, blob, {}, bridge_, reason_))
          luaL_error(L, "a value is malformed: %s", reason_.c_str());
      push_json(L, request_["info"]);
      lua_call(L, 4, 2);
      if (!lua_isboolean(L, -2))
        luaL_error(L, "check must return true, or false and a message; got %s", luaL_typename(L, -2));
      accepted = lua_toboolean(L, -2);
      std::size_t size = 0;
      if (const char *text = lua_tolstring(L, -1, &size))
        message_.assign(text, size);
    });
    if (!ok)
      return {{"error", vm_error()}};
    if (accepted)
      return {};
    // What the exercise says, and what a comparison with the expected arrays shows. Numbers and lists are not compared
    // with their like then: a check exists where they need not be equal (positions of any pair that fits, times).
    wire::Value got, expected;
    if (wire::parse(blobs[1], {}, false, got, reason_) && wire::parse(blobs[2], {}, false, expected, reason_)) {
      Comparison comparison = compare(got, expected, tolerance);
      const bool tells = message_.empty() || holds_array(expected) || got.kind != expected.kind;
      if (!comparison.equal && tells)
        message_ += (message_.empty() ? "" : "\n") + comparison.message;
    }
    return {{"ok", false}, {"message", message_.empty() ? "the result is wrong" : message_}};
  }

  static bool holds_array(const wire::Value &value) {
    return value.kind == wire::Kind::array || std::any_of(value.list.begin(), value.list.end(), holds_array) ||
           std::any_of(value.fields.begin(), value.fields.end(), [](auto &field) { return holds_array(field.second); });
  }

  int inputs_ = LUA_NOREF, expected_ = LUA_NOREF, check_ = LUA_NOREF, generator_ = LUA_NOREF;
  std::vector<frames::Blob> blobs_;
  json request_;
  std::string what_, reason_, message_;
};

} // namespace

std::unique_ptr<Role> make_judge(ControlPage &page, nlohmann::json settings, std::string script) {
  return std::make_unique<JudgeRole>(page, std::move(settings), std::move(script));
}

} // namespace perigee::grader
