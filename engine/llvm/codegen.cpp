#include "llvm/generator.hpp"

namespace perigee::llvm_backend {

namespace {

// Which variables may be read before they are assigned, and so need a value at first. Giving all of them one made each
// a variable that is assigned twice, for which LLVM then walks over all of the function: 1000 loops took 20 seconds.
class ReadFirst {
 public:
  explicit ReadFirst(const Function &f) : f_(f), found_(f.variables.size()), assigned_(f.variables.size()) {
    for (const Argument &p : f.parameters)
      if (!p.is_array)
        assign(p.index);
    block(f.body);
  }
  bool operator[](std::size_t variable) const { return found_[variable]; }

 private:
  void assign(std::int32_t variable) {
    if (variable < 0 || assigned_[std::size_t(variable)])
      return;
    assigned_[std::size_t(variable)] = true;
    order_.push_back(variable);
  }
  // What was assigned since `mark` may not have been; returns what it was.
  std::vector<std::int32_t> forget(std::size_t mark) {
    std::vector<std::int32_t> list(order_.begin() + std::ptrdiff_t(mark), order_.end());
    for (const std::int32_t v : list)
      assigned_[std::size_t(v)] = false;
    order_.resize(mark);
    return list;
  }
  void read(Ref ref) {
    if (ref < 0)
      return;
    const Node &n = f_.nodes[std::size_t(ref)];
    if (n.op == Op::variable && !assigned_[std::size_t(n.index)])
      found_[std::size_t(n.index)] = true;
    for (const Ref r : {n.a, n.b, n.c})
      read(r);
    for (const Ref r : n.arguments)
      read(r);
    for (const Row &row : n.rows)
      for (const Ref r : row.indices)
        read(r);
  }
  void block(const std::vector<Instruction> &steps) {
    for (const Instruction &s : steps)
      step(s);
  }
  void step(const Instruction &s) {
    const std::size_t mark = order_.size();
    if (s.step == Step::repeat) { // its body may go on to `until` before it has assigned everything
      block(s.blocks[0]);
      forget(mark);
    }
    for (const Ref r : {s.a, s.b, s.c})
      read(r);
    for (const Ref r : s.arguments)
      read(r);
    switch (s.step) {
    case Step::assign:
      return assign(s.variable);
    case Step::assign_call:
      for (const std::int32_t t : s.targets)
        assign(t);
      return;
    case Step::for_:
      assign(s.variable);
      [[fallthrough]];
    case Step::while_:
      block(s.blocks[0]);
      forget(mark);
      return;
    case Step::if_: {
      block(s.blocks[0]);
      const std::vector<std::int32_t> yes = forget(mark);
      block(s.blocks[1]);
      const std::vector<std::int32_t> no = forget(mark);
      const std::set<std::int32_t> both(yes.begin(), yes.end());
      for (const std::int32_t v : no)
        if (both.contains(v))
          assign(v);
      return;
    }
    default:
      return;
    }
  }

  const Function &f_;
  std::vector<bool> found_, assigned_;
  std::vector<std::int32_t> order_; // what is assigned here, in that order
};

} // namespace

Generator::Generator(llvm::LLVMContext &context, const kernel::Module &module, const Options &options)
    : context_(context), module_(module), options_(options), out_(std::make_unique<llvm::Module>("perigee", context)),
      builder_(context), debug_(*out_) {
  i1_ = builder_.getInt1Ty();
  i8_ = builder_.getInt8Ty();
  i32_ = builder_.getInt32Ty();
  i64_ = builder_.getInt64Ty();
  f32_ = builder_.getFloatTy();
  f64_ = builder_.getDoubleTy();
  pointer_ = builder_.getPtrTy();
  complex_ = llvm::StructType::get(f64_, f64_);
  if (options.fastmath)
    builder_.setFastMathFlags(llvm::FastMathFlags::getFast());
  llvm::MDBuilder metadata(context);
  llvm::MDNode *root = metadata.createTBAARoot("perigee");
  auto tag = [&](const char *name) {
    llvm::MDNode *type = metadata.createTBAAScalarTypeNode(name, root);
    return metadata.createTBAAStructTagNode(type, type, 0);
  };
  field_tag_ = tag("array field");
  for (int dtype = 0; dtype <= PG_COMPLEX128; ++dtype)
    element_tags_.push_back(tag("element")); // arrays of different dtypes may share memory (views)
}

std::unique_ptr<llvm::Module> Generator::run() {
  file_ = debug_.createFile(module_.chunk.empty() ? "kernel" : module_.chunk, "");
  debug_.createCompileUnit(llvm::dwarf::DW_LANG_C, file_, "perigee", true, "", 0, "",
                           llvm::DICompileUnit::DebugEmissionKind::NoDebug);
  out_->addModuleFlag(llvm::Module::Warning, "Debug Info Version", llvm::DEBUG_METADATA_VERSION);
  for (std::size_t i = 0; i < module_.functions.size(); ++i)
    declare(i);
  for (std::size_t i = 0; i < module_.functions.size(); ++i)
    define(i);
  entry();
  debug_.finalize();
  std::string problem;
  llvm::raw_string_ostream stream(problem);
  if (llvm::verifyModule(*out_, &stream))
    throw InternalError("the kernel compiler made code that does not verify: " + problem);
  return std::move(out_);
}

llvm::Type *Generator::type(Type t) const {
  switch (t) {
  case Type::none:
    return i64_; // of a variable that is never used
  case Type::boolean:
    return i1_;
  case Type::int64:
    return i64_;
  case Type::float32:
    return f32_;
  case Type::float64:
    return f64_;
  case Type::complex128:
    return complex_;
  }
  return f64_;
}

llvm::Type *Generator::element(std::int32_t dtype) const {
  switch (dtype) {
  case PG_BOOL:
  case PG_UINT8:
  case PG_INT8:
    return i8_;
  case PG_INT16:
  case PG_UINT16:
    return llvm::Type::getInt16Ty(context_);
  case PG_INT32:
  case PG_UINT32:
    return i32_;
  case PG_INT64:
  case PG_UINT64:
    return i64_;
  case PG_FLOAT32:
    return f32_;
  case PG_COMPLEX64:
    return llvm::StructType::get(f32_, f32_);
  case PG_COMPLEX128:
    return complex_;
  default:
    return f64_;
  }
}

bool Generator::is_signed(std::int32_t dtype) {
  return dtype == PG_INT8 || dtype == PG_INT16 || dtype == PG_INT32 || dtype == PG_INT64;
}

int Generator::bits(std::int32_t dtype) {
  switch (dtype) {
  case PG_UINT8:
  case PG_INT8:
    return 8;
  case PG_INT16:
  case PG_UINT16:
    return 16;
  case PG_INT32:
  case PG_UINT32:
    return 32;
  default:
    return 64;
  }
}

llvm::Constant *Generator::text(const std::string &s) {
  llvm::Constant *&made = texts_[s];
  if (!made)
    made = builder_.CreateGlobalStringPtr(s, "text", 0, out_.get());
  return made;
}

// How many expressions a function has with those of all it calls: twice as many at every level where each calls
// twice.
std::size_t Generator::inlined_size(std::size_t index) {
  sizes_.resize(module_.functions.size());
  if (sizes_[index] == 0) {
    std::size_t size = module_.functions[index].nodes.size();
    for (const Node &n : module_.functions[index].nodes)
      if (n.op == Op::call)
        size += std::min<std::size_t>(inlined_size(std::size_t(n.index)), 2000);
    sizes_[index] = std::max<std::size_t>(size, 1);
  }
  return sizes_[index];
}

// i32 f(Failure *, result pointers..., scalars and arrays' parts...)
void Generator::declare(std::size_t index) {
  const Function &f = module_.functions[index];
  std::vector<llvm::Type *> types{pointer_};
  for (std::size_t i = 0; i < f.results.size(); ++i)
    types.push_back(pointer_);
  for (const Argument &p : f.parameters) {
    if (!p.is_array) {
      types.push_back(type(f.variables[std::size_t(p.index)].type));
      continue;
    }
    const Array &array = f.arrays[std::size_t(p.index)];
    types.push_back(pointer_);
    types.insert(types.end(), std::size_t(array.ndim) * (array.contiguous ? 1 : 2), i64_);
  }
  llvm::Function *made = llvm::Function::Create(llvm::FunctionType::get(i32_, types, false),
                                                llvm::Function::InternalLinkage, "f" + std::to_string(index), *out_);
  made->addFnAttr(llvm::Attribute::NoUnwind);
  made->addFnAttr(llvm::Attribute::InlineHint);
  if (f.nodes.size() < 200 && inlined_size(index) < 2000)
    made->addFnAttr(llvm::Attribute::AlwaysInline);
  for (std::size_t i = 0; i <= f.results.size(); ++i)
    made->addParamAttr(unsigned(i), llvm::Attribute::NoAlias);
  functions_.push_back(made);
}

void Generator::define(std::size_t index) {
  f_ = &module_.functions[index];
  function_ = functions_[index];
  scope_ = debug_.createFunction(file_, f_->name, f_->name, file_, unsigned(f_->at.line),
                                 debug_.createSubroutineType(debug_.getOrCreateTypeArray({})), unsigned(f_->at.line),
                                 llvm::DINode::FlagZero, llvm::DISubprogram::SPFlagDefinition);
  function_->setSubprogram(scope_);
  builder_.SetInsertPoint(llvm::BasicBlock::Create(context_, "entry", function_));
  place(f_->at);
  variables_.clear();
  const ReadFirst read_first(*f_);
  for (std::size_t i = 0; i < f_->variables.size(); ++i) {
    const Variable &v = f_->variables[i];
    variables_.push_back(builder_.CreateAlloca(type(v.type), nullptr, v.name));
    if (read_first[i])
      builder_.CreateStore(llvm::Constant::getNullValue(type(v.type)), variables_.back());
  }
  memory_.assign(f_->arrays.size(), {});
  auto argument = function_->arg_begin();
  failure_ = &*argument++;
  results_.clear();
  for (std::size_t i = 0; i < f_->results.size(); ++i)
    results_.push_back(&*argument++);
  for (const Argument &p : f_->parameters) {
    if (!p.is_array) {
      builder_.CreateStore(&*argument++, variables_[std::size_t(p.index)]);
      continue;
    }
    const Array &array = f_->arrays[std::size_t(p.index)];
    Memory &m = memory_[std::size_t(p.index)];
    m.data = &*argument++;
    for (int d = 0; d < array.ndim; ++d)
      m.shape.push_back(&*argument++);
    if (!array.contiguous)
      for (int d = 0; d < array.ndim; ++d)
        m.strides.push_back(&*argument++);
  }
  for (std::size_t a = 0; a < f_->arrays.size(); ++a) { // the function's own
    const Array &array = f_->arrays[a];
    if (array.lengths.empty())
      continue;
    std::int64_t size = 1;
    for (const std::int64_t n : array.lengths) {
      memory_[a].shape.push_back(builder_.getInt64(std::uint64_t(n)));
      size *= n;
    }
    llvm::AllocaInst *slot =
        builder_.CreateAlloca(llvm::ArrayType::get(element(array.dtype), std::uint64_t(size)), nullptr, array.name);
    slot->setAlignment(llvm::Align(64));
    memory_[a].data = slot;
  }
  loops_.clear();
  block(f_->body);
  if (!builder_.GetInsertBlock()->getTerminator())
    builder_.CreateRet(builder_.getInt32(0));
}

void Generator::place(Position at) {
  if (at.line > 0)
    builder_.SetCurrentDebugLocation(llvm::DILocation::get(context_, unsigned(at.line), unsigned(at.column), scope_));
}

// What is known of a failure when it is compiled: the first fields of Failure.
llvm::Constant *Generator::record(Code code, Position at, const std::string &name, int dimension) {
  static_assert(offsetof(Failure, name) == 16 && offsetof(Failure, chunk) == 24 && offsetof(Failure, index) == 32);
  auto number = [&](std::int32_t n) { return builder_.getInt32(std::uint32_t(n)); };
  llvm::Constant *fields = llvm::ConstantStruct::getAnon(
      {number(code), number(at.line), number(at.column), number(dimension), text(name), text(f_->chunk)});
  return new llvm::GlobalVariable(*out_, fields->getType(), true, llvm::GlobalValue::InternalLinkage, fields, "record");
}

// i32 fail(Failure *, record, index, length, value): writes the failure, and is 1. One function for all checks: written
// out at each, the stores were a third of what kernels took to compile.
llvm::Function *Generator::failing() {
  if (failing_)
    return failing_;
  failing_ = llvm::Function::Create(llvm::FunctionType::get(i32_, {pointer_, pointer_, i64_, i64_, f64_}, false),
                                    llvm::Function::InternalLinkage, "fail", *out_);
  for (const auto attribute :
       {llvm::Attribute::NoUnwind, llvm::Attribute::NoInline, llvm::Attribute::Cold, llvm::Attribute::OptimizeForSize})
    failing_->addFnAttr(attribute);
  llvm::IRBuilder<> in(llvm::BasicBlock::Create(context_, "entry", failing_));
  llvm::Value *failure = failing_->getArg(0);
  auto field = [&](std::size_t offset) { return in.CreateInBoundsGEP(i8_, failure, in.getInt64(offset)); };
  for (const std::size_t offset : {0, 8, 16, 24})
    in.CreateStore(in.CreateLoad(i64_, in.CreateInBoundsGEP(i8_, failing_->getArg(1), in.getInt64(offset))),
                   field(offset));
  in.CreateStore(failing_->getArg(2), field(offsetof(Failure, index)));
  in.CreateStore(failing_->getArg(3), field(offsetof(Failure, length)));
  in.CreateStore(failing_->getArg(4), field(offsetof(Failure, value)));
  in.CreateRet(in.getInt32(1));
  return failing_;
}

// Leaves the function unless `good`: what is wrong goes into the failure.
void Generator::require(llvm::Value *good, Code code, Position at, const std::string &name, int dimension,
                        llvm::Value *index, llvm::Value *length, llvm::Value *value) {
  llvm::BasicBlock *bad = new_block("bad"), *fine = new_block("fine");
  llvm::MDBuilder metadata(context_);
  builder_.CreateCondBr(good, fine, bad, metadata.createBranchWeights(1u << 20, 1));
  builder_.SetInsertPoint(bad);
  llvm::Constant *none = builder_.getInt64(0);
  llvm::CallInst *failed =
      builder_.CreateCall(failing(), {failure_, record(code, at, name, dimension), index ? index : none,
                                      length ? length : none, value ? value : llvm::ConstantFP::get(f64_, 0)});
  failed->setDoesNotThrow();
  builder_.CreateRet(failed);
  builder_.SetInsertPoint(fine);
}

void Generator::block(const std::vector<Instruction> &steps) {
  for (const Instruction &s : steps) {
    if (builder_.GetInsertBlock()->getTerminator())
      return; // after break or return
    place(s.at);
    step(s);
  }
}

void Generator::jump(llvm::BasicBlock *to) {
  if (!builder_.GetInsertBlock()->getTerminator())
    builder_.CreateBr(to);
}

void Generator::step(const Instruction &s) {
  switch (s.step) {
  case Step::assign: {
    llvm::Value *v = s.array >= 0 ? index(s.a, s.array, int(s.integer), true) : value(s.a);
    if (f_->variables[std::size_t(s.variable)].type != Type::none)
      builder_.CreateStore(v, variables_[std::size_t(s.variable)]);
    return;
  }
  case Step::assign_call: {
    const Node &n = node(s.a);
    if (n.op != Op::call) { // of a function of the mathematics library
      llvm::Value *v = value(s.a);
      if (!s.targets.empty())
        builder_.CreateStore(v, variables_[std::size_t(s.targets[0])]);
      return;
    }
    const std::vector<llvm::Value *> outs = call(n);
    for (std::size_t i = 0; i < s.targets.size(); ++i)
      if (s.targets[i] >= 0)
        builder_.CreateStore(builder_.CreateLoad(type(module_.functions[std::size_t(n.index)].results[i]), outs[i]),
                             variables_[std::size_t(s.targets[i])]);
    return;
  }
  case Step::store:
    return store(s);
  case Step::check_index: {
    llvm::Value *i = value(s.a);
    if (options_.bounds) // an index from the end is kept as the one it stands for
      builder_.CreateStore(check_index(i, s.array, int(s.integer), s.at), variables_[std::size_t(node(s.a).index)]);
    return;
  }
  case Step::for_:
    return for_loop(s);
  case Step::while_: {
    llvm::BasicBlock *test = new_block("while"), *body = new_block("do"), *end = new_block("end");
    jump(test);
    builder_.SetInsertPoint(test);
    builder_.CreateCondBr(value(s.a), body, end);
    builder_.SetInsertPoint(body);
    loops_.push_back({test, end});
    block(s.blocks[0]);
    loops_.pop_back();
    if (!builder_.GetInsertBlock()->getTerminator())
      name_loop(builder_.CreateBr(test), s);
    builder_.SetInsertPoint(end);
    return;
  }
  case Step::repeat: {
    llvm::BasicBlock *body = new_block("repeat"), *test = new_block("until"), *end = new_block("end");
    jump(body);
    builder_.SetInsertPoint(body);
    loops_.push_back({test, end});
    block(s.blocks[0]);
    loops_.pop_back();
    jump(test);
    builder_.SetInsertPoint(test);
    name_loop(builder_.CreateCondBr(value(s.a), end, body), s);
    builder_.SetInsertPoint(end);
    return;
  }
  case Step::if_: {
    llvm::BasicBlock *yes = new_block("then"), *no = new_block("else"), *end = new_block("endif");
    builder_.CreateCondBr(value(s.a), yes, no);
    builder_.SetInsertPoint(yes);
    block(s.blocks[0]);
    jump(end);
    builder_.SetInsertPoint(no);
    block(s.blocks[1]);
    jump(end);
    builder_.SetInsertPoint(end);
    return;
  }
  case Step::break_:
    builder_.CreateBr(loops_.back().end);
    return;
  case Step::continue_:
    builder_.CreateBr(s.integer > 0 ? loops_[std::size_t(s.integer) - 1].next : loops_.back().next);
    return;
  case Step::return_: {
    std::vector<llvm::Value *> values;
    for (const Ref r : s.arguments)
      values.push_back(value(r));
    for (std::size_t i = 0; i < values.size(); ++i)
      builder_.CreateStore(values[i], results_[i]);
    builder_.CreateRet(builder_.getInt32(0));
    return;
  }
  case Step::spawn:
    return spawn(s);
  case Step::sync:
    if (s.integer != 2)
      throw InternalError("a barrier of a GPU is left in code for this processor");
    builder_.CreateFence(llvm::AtomicOrdering::SequentiallyConsistent);
    return;
  }
}

// A scalar argument in memory: double, int64, int32 (bool) or two doubles.
llvm::Value *Generator::scalar_at(llvm::Value *pointer, Type t) {
  switch (t) {
  case Type::none:
    return builder_.getInt64(0);
  case Type::boolean:
    return builder_.CreateICmpNE(builder_.CreateLoad(i32_, pointer), builder_.getInt32(0));
  case Type::int64:
    return builder_.CreateLoad(i64_, pointer);
  case Type::float32:
    return builder_.CreateFPTrunc(builder_.CreateLoad(f64_, pointer), f32_);
  case Type::float64:
    return builder_.CreateLoad(f64_, pointer);
  case Type::complex128:
    return builder_.CreateLoad(complex_, pointer);
  }
  return nullptr;
}

// What a function takes of an array: its fields, loaded once.
void Generator::fields_of(llvm::Value *given, const Array &array, std::vector<llvm::Value *> &arguments) {
  auto field = [&](std::size_t offset, llvm::Type *t) {
    llvm::LoadInst *l = builder_.CreateLoad(t, builder_.CreateInBoundsGEP(i8_, given, builder_.getInt64(offset)));
    l->setMetadata(llvm::LLVMContext::MD_tbaa, field_tag_);
    return l;
  };
  arguments.push_back(field(offsetof(pg_array, _data), pointer_));
  for (int d = 0; d < array.ndim; ++d)
    arguments.push_back(field(offsetof(pg_array, _shape) + 8 * std::size_t(d), i64_));
  if (!array.contiguous)
    for (int d = 0; d < array.ndim; ++d)
      arguments.push_back(field(offsetof(pg_array, _strides) + 8 * std::size_t(d), i64_));
}

void Generator::entry() {
  const Function &f = module_.functions[0];
  std::vector<llvm::Type *> types{pointer_, pointer_};
  if (module_.entry == kernel::Entry::loop)
    types = {pointer_, i64_, pointer_, pointer_};
  else if (module_.entry == kernel::Entry::packed)
    types = {pointer_, pointer_, pointer_};
  else
    for (const Argument &p : f.parameters) {
      const Type t = p.is_array ? Type::none : f.variables[std::size_t(p.index)].type;
      if (p.is_array)
        types.push_back(pointer_);
      else if (t == Type::complex128)
        types.insert(types.end(), 2, f64_);
      else
        types.push_back(t == Type::int64 ? i64_ : t == Type::boolean ? i32_ : f64_);
    }
  llvm::Function *made = llvm::Function::Create(llvm::FunctionType::get(i32_, types, false),
                                                llvm::Function::ExternalLinkage, entry_name, *out_);
  made->addFnAttr(llvm::Attribute::NoUnwind);
  made->addParamAttr(0, llvm::Attribute::NoAlias);
  function_ = made;
  scope_ = debug_.createFunction(file_, entry_name, entry_name, file_, unsigned(f.at.line),
                                 debug_.createSubroutineType(debug_.getOrCreateTypeArray({})), unsigned(f.at.line),
                                 llvm::DINode::FlagZero, llvm::DISubprogram::SPFlagDefinition);
  made->setSubprogram(scope_);
  builder_.SetInsertPoint(llvm::BasicBlock::Create(context_, "entry", made));
  place(f.at);
  std::vector<llvm::Value *> arguments{made->getArg(0)}, outs;
  for (const Type t : f.results) {
    outs.push_back(builder_.CreateAlloca(type(t)));
    arguments.push_back(outs.back());
  }
  unsigned next = 2;
  for (std::size_t k = 0; k < f.parameters.size(); ++k) {
    const Argument &p = f.parameters[k];
    const Type t = p.is_array ? Type::none : f.variables[std::size_t(p.index)].type;
    if (module_.entry != kernel::Entry::call) {
      llvm::Value *given =
          builder_.CreateLoad(pointer_, builder_.CreateInBoundsGEP(pointer_, made->getArg(2), builder_.getInt64(k)));
      if (!p.is_array) {
        arguments.push_back(scalar_at(given, t));
      } else if (module_.entry == kernel::Entry::packed) {
        fields_of(given, f.arrays[std::size_t(p.index)], arguments);
      } else {
        arguments.push_back(given);
        arguments.push_back(made->getArg(1));
        if (!f.arrays[std::size_t(p.index)].contiguous)
          arguments.push_back(
              builder_.CreateLoad(i64_, builder_.CreateInBoundsGEP(i64_, made->getArg(3), builder_.getInt64(k))));
      }
      continue;
    }
    llvm::Value *given = made->getArg(next++);
    if (p.is_array) {
      fields_of(given, f.arrays[std::size_t(p.index)], arguments);
      continue;
    }
    if (t == Type::complex128)
      given = complex(given, made->getArg(next++));
    else if (t == Type::boolean)
      given = builder_.CreateICmpNE(given, builder_.getInt32(0));
    else if (t == Type::float32)
      given = builder_.CreateFPTrunc(given, f32_);
    else if (t == Type::none)
      given = builder_.getInt64(0);
    arguments.push_back(given);
  }
  llvm::Value *status = builder_.CreateCall(functions_[0], arguments);
  for (std::size_t i = 0; i < f.results.size(); ++i) {
    llvm::Value *v = builder_.CreateLoad(type(f.results[i]), outs[i]);
    if (f.results[i] == Type::boolean)
      v = builder_.CreateZExt(v, i32_);
    else if (f.results[i] == Type::float32)
      v = builder_.CreateFPExt(v, f64_);
    if (v->getType() == f64_) { // NaN of other bits, as reinterpreted memory may hold, would be no number to LuaJIT
      llvm::IRBuilder<>::FastMathFlagGuard before(builder_);
      builder_.clearFastMathFlags();
      v = builder_.CreateSelect(builder_.CreateFCmpUNO(v, v), llvm::ConstantFP::getNaN(f64_), v);
    }
    builder_.CreateStore(v, builder_.CreateInBoundsGEP(i8_, made->getArg(1), builder_.getInt64(16 * i)));
  }
  builder_.CreateRet(status);
}

std::unique_ptr<llvm::Module> generate(llvm::LLVMContext &context, const kernel::Module &module,
                                       const Options &options) {
  return Generator(context, module, options).run();
}

} // namespace perigee::llvm_backend
