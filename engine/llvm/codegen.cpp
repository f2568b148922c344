#include "llvm/codegen.hpp"

#include "core/abi.hpp"
#include "core/status.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <llvm/IR/DIBuilder.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/MDBuilder.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>

namespace perigee::llvm_backend {

using namespace kernel;

namespace {

enum Code { index_outside = 1, index_fraction, store_misfit, modulo_zero, start_fraction, step_zero };

// An array inside a function: its fields as values, loaded once.
struct Memory {
  llvm::Value *data = nullptr;
  std::vector<llvm::Value *> shape, strides;
};

class Generator {
 public:
  Generator(llvm::LLVMContext &context, const kernel::Module &module, const Options &options)
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

  std::unique_ptr<llvm::Module> run() {
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

 private:
  llvm::Type *type(Type t) const {
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

  llvm::Type *element(std::int32_t dtype) const {
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
  static bool is_signed(std::int32_t dtype) {
    return dtype == PG_INT8 || dtype == PG_INT16 || dtype == PG_INT32 || dtype == PG_INT64;
  }
  static int bits(std::int32_t dtype) {
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

  llvm::Constant *text(const std::string &s) {
    llvm::Constant *&made = texts_[s];
    if (!made)
      made = builder_.CreateGlobalStringPtr(s, "text", 0, out_.get());
    return made;
  }

  // How many expressions a function has with those of all it calls: twice as many at every level where each calls
  // twice.
  std::size_t inlined_size(std::size_t index) {
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
  void declare(std::size_t index) {
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

  // ------------------------------------------------------------------------------------------------ a function
  // --------
  void define(std::size_t index) {
    f_ = &module_.functions[index];
    function_ = functions_[index];
    scope_ = debug_.createFunction(file_, f_->name, f_->name, file_, unsigned(f_->at.line),
                                   debug_.createSubroutineType(debug_.getOrCreateTypeArray({})), unsigned(f_->at.line),
                                   llvm::DINode::FlagZero, llvm::DISubprogram::SPFlagDefinition);
    function_->setSubprogram(scope_);
    builder_.SetInsertPoint(llvm::BasicBlock::Create(context_, "entry", function_));
    place(f_->at);
    variables_.clear();
    for (const Variable &v : f_->variables) {
      llvm::AllocaInst *slot = builder_.CreateAlloca(type(v.type), nullptr, v.name);
      builder_.CreateStore(llvm::Constant::getNullValue(type(v.type)), slot);
      variables_.push_back(slot);
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

  void place(Position at) {
    if (at.line > 0)
      builder_.SetCurrentDebugLocation(llvm::DILocation::get(context_, unsigned(at.line), unsigned(at.column), scope_));
  }

  llvm::BasicBlock *new_block(const char *name) { return llvm::BasicBlock::Create(context_, name, function_); }

  // Leaves the function unless `good`: what is wrong goes into the failure.
  void require(llvm::Value *good, Code code, Position at, const std::string &name, int dimension, llvm::Value *index,
               llvm::Value *length, llvm::Value *value) {
    llvm::BasicBlock *bad = new_block("bad"), *fine = new_block("fine");
    llvm::MDBuilder metadata(context_);
    builder_.CreateCondBr(good, fine, bad, metadata.createBranchWeights(1u << 20, 1));
    builder_.SetInsertPoint(bad);
    const std::size_t offsets[] = {offsetof(Failure, code), offsetof(Failure, line), offsetof(Failure, column),
                                   offsetof(Failure, dimension)};
    const std::int32_t values[] = {code, at.line, at.column, dimension};
    auto at_offset = [&](std::size_t offset) {
      return builder_.CreateInBoundsGEP(i8_, failure_, builder_.getInt64(offset));
    };
    for (int i = 0; i < 4; ++i)
      builder_.CreateStore(builder_.getInt32(std::uint32_t(values[i])), at_offset(offsets[i]));
    builder_.CreateStore(text(name), at_offset(offsetof(Failure, name)));
    builder_.CreateStore(text(f_->chunk), at_offset(offsetof(Failure, chunk)));
    if (index)
      builder_.CreateStore(index, at_offset(offsetof(Failure, index)));
    if (length)
      builder_.CreateStore(length, at_offset(offsetof(Failure, length)));
    if (value)
      builder_.CreateStore(value, at_offset(offsetof(Failure, value)));
    builder_.CreateRet(builder_.getInt32(1));
    builder_.SetInsertPoint(fine);
  }

  // ------------------------------------------------------------------------------------------------ statements
  // --------
  void block(const std::vector<Instruction> &steps) {
    for (const Instruction &s : steps) {
      if (builder_.GetInsertBlock()->getTerminator())
        return; // after break or return
      place(s.at);
      step(s);
    }
  }

  void jump(llvm::BasicBlock *to) {
    if (!builder_.GetInsertBlock()->getTerminator())
      builder_.CreateBr(to);
  }

  void step(const Instruction &s) {
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
    case Step::sync:
      if (s.integer != 2)
        throw InternalError("a barrier of a GPU is left in code for this processor");
      builder_.CreateFence(llvm::AtomicOrdering::SequentiallyConsistent);
      return;
    }
  }

  // Tells LLVM where the loop of this branch back begins in the source, and whether its rounds are independent.
  void name_loop(llvm::Instruction *back, const Instruction &s) {
    std::vector<llvm::Metadata *> about{nullptr};
    if (s.at.line > 0)
      about.push_back(llvm::DILocation::get(context_, unsigned(s.at.line), unsigned(s.at.column), scope_));
    if (s.step == Step::for_ && s.integer == 1)
      about.push_back(
          llvm::MDNode::get(context_, {llvm::MDString::get(context_, "llvm.loop.parallel_accesses"), groups_.back()}));
    if (s.integer == 2) {
      about.push_back(llvm::MDNode::get(context_, llvm::MDString::get(context_, "llvm.loop.unroll.disable")));
      about.push_back(llvm::MDNode::get(context_, {llvm::MDString::get(context_, "llvm.loop.vectorize.enable"),
                                                   llvm::ConstantAsMetadata::get(builder_.getFalse())}));
    }
    llvm::MDNode *loop = llvm::MDNode::getDistinct(context_, about);
    loop->replaceOperandWith(0, loop);
    back->setMetadata(llvm::LLVMContext::MD_loop, loop);
  }

  void for_loop(const Instruction &s) {
    const Type counter = f_->variables[std::size_t(s.variable)].type;
    const bool whole = counter == Type::int64;
    llvm::Value *start = whole ? whole_start(s) : value(s.a);
    llvm::Value *limit = value(s.b), *step = value(s.c);
    const Node &by = node(s.c);
    const bool known = by.op == Op::constant;
    const bool up = known && (whole ? by.integer > 0 : by.number > 0);
    if (!known && options_.bounds)
      require(whole ? builder_.CreateICmpNE(step, builder_.getInt64(0))
                    : builder_.CreateFCmpUNE(step, llvm::ConstantFP::get(f64_, 0)),
              step_zero, s.at, f_->variables[std::size_t(s.variable)].name, 0, nullptr, nullptr, nullptr);
    llvm::Value *positive = known   ? builder_.getInt1(up)
                            : whole ? builder_.CreateICmpSGT(step, builder_.getInt64(0))
                                    : builder_.CreateFCmpOGT(step, llvm::ConstantFP::get(f64_, 0));
    llvm::Value *runs = nullptr;
    if (whole) { // the last whole number before or at the limit, far enough from the ends that i + step cannot overflow
      const std::int64_t far = std::int64_t(1) << 62;
      if (node(s.b).type != Type::int64) {
        llvm::Value *is_number = builder_.CreateFCmpORD(limit, limit);
        llvm::Value *floor = unary(llvm::Intrinsic::floor, limit), *ceil = unary(llvm::Intrinsic::ceil, limit);
        llvm::Value *towards = builder_.CreateSelect(positive, floor, ceil);
        limit = saturate(towards);
        runs = is_number;
      }
      limit = builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, limit, builder_.getInt64(std::uint64_t(far)));
      limit = builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, limit, builder_.getInt64(std::uint64_t(-far)));
      step = builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, step, builder_.getInt64(std::uint64_t(far - 1)));
      step = builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, step, builder_.getInt64(std::uint64_t(1 - far)));
    }
    auto inside = [&](llvm::Value *i) {
      llvm::Value *below = whole ? builder_.CreateICmpSLE(i, limit) : builder_.CreateFCmpOLE(i, limit);
      if (known && up)
        return below;
      llvm::Value *above = whole ? builder_.CreateICmpSGE(i, limit) : builder_.CreateFCmpOGE(i, limit);
      return known ? above : builder_.CreateSelect(positive, below, above);
    };
    llvm::BasicBlock *before = builder_.GetInsertBlock();
    llvm::Value *first = inside(start);
    if (runs)
      first = builder_.CreateAnd(first, runs);
    llvm::BasicBlock *body = new_block("for"), *next = new_block("next"), *end = new_block("end");
    builder_.CreateCondBr(first, body, end);
    builder_.SetInsertPoint(body);
    llvm::PHINode *i = builder_.CreatePHI(type(counter), 2);
    i->addIncoming(start, before);
    builder_.CreateStore(i, variables_[std::size_t(s.variable)]);
    if (s.integer == 1)
      groups_.push_back(llvm::MDNode::getDistinct(context_, {}));
    loops_.push_back({next, end});
    block(s.blocks[0]);
    loops_.pop_back();
    jump(next);
    builder_.SetInsertPoint(next);
    place(s.at);
    llvm::Value *after = whole ? builder_.CreateAdd(i, step, "", false, true) : builder_.CreateFAdd(i, step);
    i->addIncoming(after, next);
    name_loop(builder_.CreateCondBr(inside(after), body, end), s);
    if (s.integer == 1)
      groups_.pop_back();
    builder_.SetInsertPoint(end);
  }

  // The start of an integer loop may come as a float, which must then be whole.
  llvm::Value *whole_start(const Instruction &s) {
    const Node &n = node(s.a);
    if (n.op != Op::convert || node(n.a).type == Type::int64)
      return value(s.a);
    llvm::Value *number = widen(value(n.a));
    llvm::Value *start = saturate(number);
    if (options_.bounds)
      require(builder_.CreateFCmpOEQ(builder_.CreateSIToFP(start, f64_), number), start_fraction, s.at,
              f_->variables[std::size_t(s.variable)].name, 0, nullptr, nullptr, number);
    return start;
  }

  // ---------------------------------------------------------------------------------------------------- memory
  // -------- The index, which must be inside; one below zero counts from the end, and is given as the one it stands
  // for.
  llvm::Value *check_index(llvm::Value *i, std::int32_t array, int dimension, Position at) {
    llvm::Value *length = memory_[std::size_t(array)].shape[std::size_t(dimension)];
    llvm::Value *meant = i;
    if (!module_.block) {
      llvm::Value *from_end = builder_.CreateAdd(builder_.CreateAdd(i, length), builder_.getInt64(1));
      meant = builder_.CreateSelect(builder_.CreateICmpSLT(i, builder_.getInt64(0)), from_end, i);
    }
    llvm::Value *from_zero = builder_.CreateSub(meant, builder_.getInt64(1));
    require(builder_.CreateICmpULT(from_zero, length), index_outside, at, f_->arrays[std::size_t(array)].name,
            dimension + 1, i, length, nullptr);
    return meant;
  }

  // An index as int64: a float must be whole.
  llvm::Value *index(Ref ref, std::int32_t array, int dimension, bool checked) {
    const Node &n = node(ref);
    const bool fraction = n.op == Op::convert && node(n.a).type != Type::int64;
    llvm::Value *i = nullptr;
    if (fraction) {
      llvm::Value *number = widen(value(n.a));
      i = builder_.CreateFPToSI(number, i64_);
      if (options_.bounds) {
        i = saturate(number);
        require(builder_.CreateFCmpOEQ(builder_.CreateSIToFP(i, f64_), number), index_fraction, n.at,
                f_->arrays[std::size_t(array)].name, dimension + 1, nullptr,
                memory_[std::size_t(array)].shape[std::size_t(dimension)], number);
      }
    } else {
      i = value(ref);
    }
    return checked || !options_.bounds ? i : check_index(i, array, dimension, n.at);
  }

  llvm::Value *element_pointer(std::int32_t a, const std::vector<Ref> &arguments, std::int64_t checked) {
    const Array &array = f_->arrays[std::size_t(a)];
    const Memory &m = memory_[std::size_t(a)];
    std::vector<llvm::Value *> indices;
    for (std::size_t d = 0; d < arguments.size(); ++d)
      indices.push_back(index(arguments[d], a, int(d), std::int64_t(d) < checked));
    llvm::Value *offset = nullptr;
    for (std::size_t d = 0; d < m.shape.size(); ++d) { // of a row: as its first element
      if (d >= indices.size()) {
        if (array.contiguous)
          offset = builder_.CreateMul(offset, m.shape[d], "", false, true);
        continue;
      }
      llvm::Value *i = builder_.CreateSub(indices[d], builder_.getInt64(1), "", false, true);
      if (array.contiguous)
        offset = offset
                     ? builder_.CreateAdd(builder_.CreateMul(offset, m.shape[d], "", false, true), i, "", false, true)
                     : i;
      else {
        llvm::Value *term = builder_.CreateMul(i, m.strides[d], "", false, true);
        offset = offset ? builder_.CreateAdd(offset, term, "", false, true) : term;
      }
    }
    return builder_.CreateInBoundsGEP(element(array.dtype), m.data, offset ? offset : builder_.getInt64(0));
  }

  // What an access to an element can share memory with, and the parallel loops that it is part of.
  void tag(llvm::Instruction *access, const Array &array) {
    access->setMetadata(llvm::LLVMContext::MD_tbaa, element_tags_[std::size_t(array.dtype)]);
    if (!array.lengths.empty() && !array.shared)
      return; // the function's own: every round writes the same one
    if (groups_.size() == 1)
      access->setMetadata(llvm::LLVMContext::MD_access_group, groups_[0]);
    else if (!groups_.empty())
      access->setMetadata(llvm::LLVMContext::MD_access_group,
                          llvm::MDNode::get(context_, std::vector<llvm::Metadata *>(groups_.begin(), groups_.end())));
  }

  llvm::Value *load(const Node &n) {
    const std::int32_t dtype = f_->arrays[std::size_t(n.index)].dtype;
    llvm::Value *pointer = element_pointer(n.index, n.arguments, n.integer);
    llvm::LoadInst *raw = builder_.CreateLoad(element(dtype), pointer);
    tag(raw, f_->arrays[std::size_t(n.index)]);
    switch (dtype) {
    case PG_BOOL:
      return builder_.CreateICmpNE(raw, builder_.getInt8(0));
    case PG_FLOAT32:
    case PG_FLOAT64:
    case PG_COMPLEX128:
      return raw;
    case PG_COMPLEX64: {
      llvm::Value *out = llvm::UndefValue::get(complex_);
      for (unsigned part : {0u, 1u})
        out = builder_.CreateInsertValue(out, builder_.CreateFPExt(builder_.CreateExtractValue(raw, part), f64_), part);
      return out;
    }
    default:
      return is_signed(dtype) ? builder_.CreateSExt(raw, i64_) : builder_.CreateZExt(raw, i64_);
    }
  }

  // An atomic operation of a GPU: what was there. Threads of a block run one after another, so that shared memory needs
  // none.
  llvm::Value *atomic(const Node &n) {
    using Operation = llvm::AtomicRMWInst;
    const Array &array = f_->arrays[std::size_t(n.index)];
    const bool floats = array.dtype == PG_FLOAT32 || array.dtype == PG_FLOAT64;
    const bool with_sign = is_signed(array.dtype);
    llvm::Type *type_here = element(array.dtype);
    auto narrow = [&](Ref r) {
      llvm::Value *v = value(r);
      return floats ? v : builder_.CreateTrunc(v, type_here);
    };
    llvm::Value *a = narrow(n.a), *b = n.b >= 0 ? narrow(n.b) : nullptr;
    llvm::Value *at = element_pointer(n.index, n.arguments, n.integer), *before = nullptr;
    auto less = [&](llvm::Value *x, llvm::Value *y) {
      return floats      ? builder_.CreateFCmpOLT(x, y)
             : with_sign ? builder_.CreateICmpSLT(x, y)
                         : builder_.CreateICmpULT(x, y);
    };
    if (array.shared) {
      before = builder_.CreateLoad(type_here, at);
      llvm::Value *after = a;
      switch (n.gpu) {
      case Gpu::atomic_add:
        after = floats ? builder_.CreateFAdd(before, a) : builder_.CreateAdd(before, a);
        break;
      case Gpu::atomic_subtract:
        after = floats ? builder_.CreateFSub(before, a) : builder_.CreateSub(before, a);
        break;
      case Gpu::atomic_minimum:
        after = builder_.CreateSelect(less(a, before), a, before);
        break;
      case Gpu::atomic_maximum:
        after = builder_.CreateSelect(less(before, a), a, before);
        break;
      case Gpu::atomic_and:
        after = builder_.CreateAnd(before, a);
        break;
      case Gpu::atomic_or:
        after = builder_.CreateOr(before, a);
        break;
      case Gpu::atomic_xor:
        after = builder_.CreateXor(before, a);
        break;
      case Gpu::atomic_compare_and_swap:
        after = builder_.CreateSelect(builder_.CreateICmpEQ(before, a), b, before);
        break;
      default: // exchange
        break;
      }
      builder_.CreateStore(after, at);
    } else if (n.gpu == Gpu::atomic_compare_and_swap) {
      before = builder_.CreateExtractValue(
          builder_.CreateAtomicCmpXchg(at, a, b, {}, llvm::AtomicOrdering::Monotonic, llvm::AtomicOrdering::Monotonic),
          0u);
    } else {
      const auto operation = [&] {
        switch (n.gpu) {
        case Gpu::atomic_add:
          return floats ? Operation::FAdd : Operation::Add;
        case Gpu::atomic_subtract:
          return floats ? Operation::FSub : Operation::Sub;
        case Gpu::atomic_minimum:
          return floats ? Operation::FMin : with_sign ? Operation::Min : Operation::UMin;
        case Gpu::atomic_maximum:
          return floats ? Operation::FMax : with_sign ? Operation::Max : Operation::UMax;
        case Gpu::atomic_and:
          return Operation::And;
        case Gpu::atomic_or:
          return Operation::Or;
        case Gpu::atomic_xor:
          return Operation::Xor;
        default:
          return Operation::Xchg;
        }
      }();
      before = builder_.CreateAtomicRMW(operation, at, a, {}, llvm::AtomicOrdering::Monotonic);
    }
    if (floats)
      return before;
    return with_sign ? builder_.CreateSExt(before, i64_) : builder_.CreateZExt(before, i64_);
  }

  // A value as an element of a dtype.
  llvm::Value *as_element(llvm::Value *v, Type from, const Array &array, Position at) {
    switch (array.dtype) {
    case PG_BOOL:
      return builder_.CreateZExt(v, i8_);
    case PG_FLOAT32:
    case PG_FLOAT64:
    case PG_COMPLEX128:
      return v;
    case PG_COMPLEX64: {
      llvm::Value *out = llvm::UndefValue::get(element(PG_COMPLEX64));
      for (unsigned part : {0u, 1u})
        out = builder_.CreateInsertValue(out, builder_.CreateFPTrunc(builder_.CreateExtractValue(v, part), f32_), part);
      return out;
    }
    default:
      break;
    }
    if (from != Type::int64) { // a float into integers: whole, and in range
      v = widen(v);
      const bool unsigned_64 = array.dtype == PG_UINT64;
      llvm::Value *whole =
          unsigned_64 ? builder_.CreateIntrinsic(llvm::Intrinsic::fptoui_sat, {i64_, f64_}, {v}) : saturate(v);
      if (options_.bounds) {
        llvm::Value *back = unsigned_64 ? builder_.CreateUIToFP(whole, f64_) : builder_.CreateSIToFP(whole, f64_);
        llvm::Value *good = builder_.CreateFCmpOEQ(back, v);
        const int width = bits(array.dtype);
        if (width == 64) { // the greatest integer rounds to the power of two beyond it
          good = builder_.CreateAnd(
              good, builder_.CreateFCmpOLT(v, llvm::ConstantFP::get(f64_, std::ldexp(1.0, unsigned_64 ? 64 : 63))));
        } else {
          const std::int64_t low = is_signed(array.dtype) ? -(std::int64_t(1) << (width - 1)) : 0;
          const std::int64_t high = (std::int64_t(1) << (is_signed(array.dtype) ? width - 1 : width)) - 1;
          good = builder_.CreateAnd(good, builder_.CreateICmpSGE(whole, builder_.getInt64(std::uint64_t(low))));
          good = builder_.CreateAnd(good, builder_.CreateICmpSLE(whole, builder_.getInt64(std::uint64_t(high))));
        }
        require(good, store_misfit, at, array.name, array.dtype, nullptr, nullptr, v);
      }
      v = whole;
    }
    return bits(array.dtype) == 64 ? v : builder_.CreateTrunc(v, element(array.dtype));
  }

  void store(const Instruction &s) {
    const Array &array = f_->arrays[std::size_t(s.array)];
    if (s.arguments.empty()) { // every element of the function's own array
      std::int64_t size = 1;
      for (const std::int64_t n : array.lengths)
        size *= n;
      llvm::Value *v = as_element(value(s.a), node(s.a).type, array, s.at);
      if (llvm::cast<llvm::Constant>(v)->isNullValue()) {
        builder_.CreateMemSet(memory_[std::size_t(s.array)].data, builder_.getInt8(0),
                              out_->getDataLayout().getTypeAllocSize(element(array.dtype)) * std::uint64_t(size),
                              llvm::MaybeAlign(64));
        return;
      }
      for (std::int64_t i = 0; i < size; ++i)
        builder_.CreateStore(v, builder_.CreateInBoundsGEP(element(array.dtype), memory_[std::size_t(s.array)].data,
                                                           builder_.getInt64(std::uint64_t(i))));
      return;
    }
    llvm::Value *v = value(s.a);
    llvm::Value *pointer = element_pointer(s.array, s.arguments, s.integer);
    v = as_element(v, node(s.a).type, array, s.at);
    llvm::StoreInst *put = builder_.CreateStore(v, pointer);
    tag(put, array);
  }

  // ----------------------------------------------------------------------------------------------- expressions
  // --------
  const Node &node(Ref r) const { return f_->nodes[std::size_t(r)]; }

  llvm::Value *unary(llvm::Intrinsic::ID id, llvm::Value *v) { return builder_.CreateUnaryIntrinsic(id, v); }
  llvm::Value *widen(llvm::Value *v) { return v->getType() == f32_ ? builder_.CreateFPExt(v, f64_) : v; }
  // To int64 towards zero; what does not fit becomes the nearest that does, NaN 0.
  llvm::Value *saturate(llvm::Value *v) {
    return builder_.CreateIntrinsic(llvm::Intrinsic::fptosi_sat, {i64_, v->getType()}, {v});
  }

  llvm::Value *complex(llvm::Value *re, llvm::Value *im) {
    llvm::Value *out = llvm::UndefValue::get(complex_);
    return builder_.CreateInsertValue(builder_.CreateInsertValue(out, re, 0u), im, 1u);
  }
  llvm::Value *re(llvm::Value *v) { return builder_.CreateExtractValue(v, 0u); }
  llvm::Value *im(llvm::Value *v) { return builder_.CreateExtractValue(v, 1u); }

  llvm::Value *value(Ref ref) {
    const Node &n = node(ref);
    switch (n.op) {
    case Op::constant:
      switch (n.type) {
      case Type::boolean:
        return builder_.getInt1(n.integer != 0);
      case Type::int64:
        return builder_.getInt64(std::uint64_t(n.integer));
      case Type::complex128:
        return complex(llvm::ConstantFP::get(f64_, n.number), llvm::ConstantFP::get(f64_, n.imaginary));
      case Type::none:
        return builder_.getInt64(0);
      default:
        return llvm::ConstantFP::get(type(n.type), n.number);
      }
    case Op::variable:
      return builder_.CreateLoad(type(n.type), variables_[std::size_t(n.index)]);
    case Op::convert:
      return convert(value(n.a), node(n.a).type, n.type);
    case Op::negate: {
      llvm::Value *v = value(n.a);
      if (n.type == Type::int64)
        return builder_.CreateNeg(v);
      return n.type == Type::complex128 ? complex(builder_.CreateFNeg(re(v)), builder_.CreateFNeg(im(v)))
                                        : builder_.CreateFNeg(v);
    }
    case Op::logical_not:
      return builder_.CreateNot(value(n.a));
    case Op::add:
    case Op::subtract:
    case Op::multiply:
    case Op::divide:
      return arithmetic(n);
    case Op::modulo:
      return modulo(n);
    case Op::power: {
      llvm::Value *a = value(n.a), *b = value(n.b);
      return builder_.CreateBinaryIntrinsic(llvm::Intrinsic::pow, a, b);
    }
    case Op::less:
    case Op::less_equal:
    case Op::equal:
    case Op::not_equal:
      return compare(n);
    case Op::logical_and:
    case Op::logical_or:
    case Op::choose:
      return shortcut(n);
    case Op::call:
      return builder_.CreateLoad(type(n.type), call(n)[0]);
    case Op::math:
      return mathematics(n);
    case Op::load:
      return load(n);
    case Op::length:
      return memory_[std::size_t(n.index)].shape[std::size_t(n.integer)];
    case Op::atomic:
      return atomic(n);
    case Op::warp:
      if (n.gpu == Gpu::popcount)
        return builder_.CreateZExt(unary(llvm::Intrinsic::ctpop, builder_.CreateTrunc(value(n.a), i32_)), i64_);
      [[fallthrough]];
    case Op::place:
      throw InternalError("what only a GPU has is left in code for this processor");
    }
    return nullptr;
  }

  llvm::Value *convert(llvm::Value *v, Type from, Type to) {
    if (from == to)
      return v;
    if (to == Type::complex128)
      return complex(convert(v, from, Type::float64), llvm::ConstantFP::get(f64_, 0));
    if (to == Type::int64)
      return saturate(v);
    if (from == Type::int64)
      return builder_.CreateSIToFP(v, type(to));
    return to == Type::float64 ? builder_.CreateFPExt(v, f64_) : builder_.CreateFPTrunc(v, f32_);
  }

  llvm::Value *arithmetic(const Node &n) {
    llvm::Value *a = value(n.a), *b = value(n.b);
    if (n.type == Type::int64) {
      switch (n.op) {
      case Op::add:
        return builder_.CreateAdd(a, b);
      case Op::subtract:
        return builder_.CreateSub(a, b);
      default:
        return builder_.CreateMul(a, b);
      }
    }
    if (n.type != Type::complex128) {
      if (n.integer == 1) { // of a parallel loop's total
        llvm::IRBuilder<>::FastMathFlagGuard before(builder_);
        llvm::FastMathFlags flags = builder_.getFastMathFlags();
        flags.setAllowReassoc();
        builder_.setFastMathFlags(flags);
        return n.op == Op::add ? builder_.CreateFAdd(a, b) : builder_.CreateFMul(a, b);
      }
      switch (n.op) {
      case Op::add:
        return builder_.CreateFAdd(a, b);
      case Op::subtract:
        return builder_.CreateFSub(a, b);
      case Op::multiply:
        return builder_.CreateFMul(a, b);
      default:
        return builder_.CreateFDiv(a, b);
      }
    }
    llvm::Value *ar = re(a), *ai = im(a), *br = re(b), *bi = im(b);
    auto times = [&](llvm::Value *x, llvm::Value *y) { return builder_.CreateFMul(x, y); };
    switch (n.op) {
    case Op::add:
      return complex(builder_.CreateFAdd(ar, br), builder_.CreateFAdd(ai, bi));
    case Op::subtract:
      return complex(builder_.CreateFSub(ar, br), builder_.CreateFSub(ai, bi));
    case Op::multiply:
      return complex(builder_.CreateFSub(times(ar, br), times(ai, bi)),
                     builder_.CreateFAdd(times(ar, bi), times(ai, br)));
    default: { // Smith, Algorithm 116, CACM 1962, without branches: the larger part of the divisor divides first
      llvm::Value *wide = builder_.CreateFCmpOGE(unary(llvm::Intrinsic::fabs, br), unary(llvm::Intrinsic::fabs, bi));
      llvm::Value *large = builder_.CreateSelect(wide, br, bi), *small = builder_.CreateSelect(wide, bi, br);
      llvm::Value *ratio = builder_.CreateFDiv(small, large);
      llvm::Value *denominator = builder_.CreateFAdd(large, times(small, ratio));
      llvm::Value *x = builder_.CreateSelect(wide, ar, ai), *y = builder_.CreateSelect(wide, ai, ar);
      llvm::Value *real = builder_.CreateFDiv(builder_.CreateFAdd(x, times(y, ratio)), denominator);
      llvm::Value *imaginary = builder_.CreateFDiv(
          builder_.CreateSelect(wide, builder_.CreateFSub(y, times(x, ratio)), builder_.CreateFSub(times(x, ratio), y)),
          denominator);
      return complex(real, imaginary);
    }
    }
  }

  // a - floor(a / b) * b, as Lua defines it.
  llvm::Value *modulo(const Node &n) {
    llvm::Value *a = value(n.a), *b = value(n.b);
    if (n.type == Type::int64) {
      const Node &divisor = node(n.b);
      const bool known = divisor.op == Op::constant && divisor.integer != 0 && divisor.integer != -1;
      if (!known) {
        if (options_.bounds)
          require(builder_.CreateICmpNE(b, builder_.getInt64(0)), modulo_zero, n.at, "", 0, nullptr, nullptr, nullptr);
        // INT64_MIN % -1 traps; x % -1 is 0, as is x % 1.
        b = builder_.CreateSelect(builder_.CreateICmpEQ(b, builder_.getInt64(std::uint64_t(-1))), builder_.getInt64(1),
                                  b);
      }
      llvm::Value *r = builder_.CreateSRem(a, b);
      llvm::Value *other_sign = builder_.CreateICmpSLT(builder_.CreateXor(r, b), builder_.getInt64(0));
      llvm::Value *fix = builder_.CreateAnd(other_sign, builder_.CreateICmpNE(r, builder_.getInt64(0)));
      return builder_.CreateSelect(fix, builder_.CreateAdd(r, b), r);
    }
    llvm::Value *whole = unary(llvm::Intrinsic::floor, builder_.CreateFDiv(a, b));
    return builder_.CreateFSub(a, builder_.CreateFMul(whole, b));
  }

  llvm::Value *compare(const Node &n) {
    llvm::Value *a = value(n.a), *b = value(n.b);
    const Type t = node(n.a).type;
    if (t == Type::complex128) {
      llvm::Value *same =
          builder_.CreateAnd(builder_.CreateFCmpOEQ(re(a), re(b)), builder_.CreateFCmpOEQ(im(a), im(b)));
      return n.op == Op::equal ? same : builder_.CreateNot(same);
    }
    const bool integers = t == Type::int64 || t == Type::boolean || t == Type::none;
    switch (n.op) {
    case Op::less:
      return integers ? builder_.CreateICmpSLT(a, b) : builder_.CreateFCmpOLT(a, b);
    case Op::less_equal:
      return integers ? builder_.CreateICmpSLE(a, b) : builder_.CreateFCmpOLE(a, b);
    case Op::equal:
      return integers ? builder_.CreateICmpEQ(a, b) : builder_.CreateFCmpOEQ(a, b);
    default:
      return integers ? builder_.CreateICmpNE(a, b) : builder_.CreateFCmpUNE(a, b);
    }
  }

  // Whether an expression may be evaluated where Lua would not: no check and no call in it.
  bool harmless(Ref ref) const {
    const Node &n = node(ref);
    if (n.op == Op::call || (n.op == Op::load && (options_.bounds || true)) ||
        (n.op == Op::modulo && n.type == Type::int64))
      return false;
    for (const Ref r : {n.a, n.b, n.c})
      if (r >= 0 && !harmless(r))
        return false;
    for (const Ref r : n.arguments)
      if (r >= 0 && !harmless(r))
        return false;
    return true;
  }

  llvm::Value *shortcut(const Node &n) {
    llvm::Value *test = value(n.a);
    if (n.op == Op::choose && harmless(n.b) && harmless(n.c)) {
      llvm::Value *yes = value(n.b);
      return builder_.CreateSelect(test, yes, value(n.c));
    }
    if (n.op != Op::choose && harmless(n.b)) {
      llvm::Value *second = value(n.b);
      return n.op == Op::logical_and ? builder_.CreateSelect(test, second, builder_.getFalse())
                                     : builder_.CreateSelect(test, builder_.getTrue(), second);
    }
    llvm::BasicBlock *yes = new_block("yes"), *no = new_block("no"), *end = new_block("chosen");
    builder_.CreateCondBr(test, yes, no);
    builder_.SetInsertPoint(yes);
    llvm::Value *first = n.op == Op::logical_or ? builder_.getTrue() : value(n.b);
    llvm::BasicBlock *first_end = builder_.GetInsertBlock();
    builder_.CreateBr(end);
    builder_.SetInsertPoint(no);
    llvm::Value *second = n.op == Op::choose ? value(n.c) : n.op == Op::logical_or ? value(n.b) : builder_.getFalse();
    llvm::BasicBlock *second_end = builder_.GetInsertBlock();
    builder_.CreateBr(end);
    builder_.SetInsertPoint(end);
    llvm::PHINode *out = builder_.CreatePHI(type(n.type), 2);
    out->addIncoming(first, first_end);
    out->addIncoming(second, second_end);
    return out;
  }

  // Where the results of a call lie.
  std::vector<llvm::Value *> call(const Node &n) {
    const Function &target = module_.functions[std::size_t(n.index)];
    std::vector<llvm::Value *> arguments{failure_}, outs;
    for (const Type t : target.results) {
      llvm::IRBuilder<> top(&function_->getEntryBlock(), function_->getEntryBlock().begin());
      outs.push_back(top.CreateAlloca(type(t), nullptr, "result"));
      arguments.push_back(outs.back());
    }
    for (std::size_t i = 0; i < n.arguments.size(); ++i) {
      const Ref r = n.arguments[i];
      if (r >= 0) {
        arguments.push_back(value(r));
        continue;
      }
      const Memory &m = memory_[std::size_t(-1 - r)];
      const auto row = std::find_if(n.rows.begin(), n.rows.end(), [&](const Row &w) { return w.argument == int(i); });
      if (row != n.rows.end()) {
        const std::ptrdiff_t d = std::ptrdiff_t(row->indices.size());
        arguments.push_back(element_pointer(-1 - r, row->indices, row->checked));
        arguments.insert(arguments.end(), m.shape.begin() + d, m.shape.end());
        if (!m.strides.empty())
          arguments.insert(arguments.end(), m.strides.begin() + d, m.strides.end());
        continue;
      }
      arguments.push_back(m.data);
      arguments.insert(arguments.end(), m.shape.begin(), m.shape.end());
      arguments.insert(arguments.end(), m.strides.begin(), m.strides.end());
    }
    llvm::Value *status = builder_.CreateCall(functions_[std::size_t(n.index)], arguments);
    llvm::BasicBlock *bad = new_block("failed"), *fine = new_block("returned");
    llvm::MDBuilder metadata(context_);
    builder_.CreateCondBr(builder_.CreateICmpEQ(status, builder_.getInt32(0)), fine, bad,
                          metadata.createBranchWeights(1u << 20, 1));
    builder_.SetInsertPoint(bad);
    builder_.CreateRet(builder_.getInt32(1));
    builder_.SetInsertPoint(fine);
    return outs;
  }

  // A function of libm, which LLVM's tables of vector functions know by name.
  llvm::Value *library(const char *name, const std::vector<llvm::Value *> &arguments) {
    llvm::Type *t = arguments[0]->getType();
    const std::string full = std::string(name) + (t == f32_ ? "f" : "");
    const std::vector<llvm::Type *> types(arguments.size(), t);
    llvm::FunctionCallee callee = out_->getOrInsertFunction(full, llvm::FunctionType::get(t, types, false));
    llvm::CallInst *call = builder_.CreateCall(callee, arguments);
    call->setDoesNotAccessMemory(); // nothing here looks at errno
    call->setDoesNotThrow();
    call->addFnAttr(llvm::Attribute::WillReturn);
    return call;
  }

  // At most 1.5 ulp, where vectors of libmvec's pow may be 4 ulp away, and some eight times as fast.
  llvm::Value *power_of(llvm::Value *x, double exponent) {
    auto times = [&](llvm::Value *a, llvm::Value *b) { return builder_.CreateFMul(a, b); };
    llvm::Value *one = llvm::ConstantFP::get(x->getType(), 1);
    if (exponent == -1)
      return builder_.CreateFDiv(one, x);
    llvm::Value *square = times(x, x);
    if (exponent == 2)
      return square;
    if (exponent == 3)
      return times(square, x);
    if (exponent == 4)
      return times(square, square);
    if (exponent == -2)
      return builder_.CreateFDiv(one, square);
    // pow of -infinity is infinity, and of -0 it is 0, where the square root has NaN and -0
    llvm::Value *infinity = llvm::ConstantFP::getInfinity(x->getType());
    llvm::Value *odd = builder_.CreateFCmpOEQ(x, llvm::ConstantFP::getInfinity(x->getType(), true));
    llvm::Value *root = unary(llvm::Intrinsic::sqrt, x);
    if (exponent == 1.5) // -0 times -0
      root = times(x, root);
    else
      root = unary(llvm::Intrinsic::fabs, root);
    if (exponent == 2.5)
      root = times(square, root);
    return builder_.CreateSelect(odd, infinity, root);
  }

  llvm::Value *mathematics(const Node &n) {
    using I = llvm::Intrinsic::IndependentIntrinsics;
    std::vector<llvm::Value *> a;
    for (const Ref r : n.arguments)
      a.push_back(value(r));
    const Type t = node(n.arguments[0]).type;
    switch (n.math) {
    case Math::absolute:
      if (t == Type::int64)
        return builder_.CreateBinaryIntrinsic(I::abs, a[0], builder_.getFalse());
      return t == Type::complex128 ? library("hypot", {re(a[0]), im(a[0])}) : unary(I::fabs, a[0]);
    case Math::power_of:
      return power_of(a[0], n.number);
    case Math::sqrt:
      return unary(I::sqrt, a[0]);
    case Math::floor:
      return unary(I::floor, a[0]);
    case Math::ceil:
      return unary(I::ceil, a[0]);
    case Math::sin:
      return unary(I::sin, a[0]);
    case Math::cos:
      return unary(I::cos, a[0]);
    case Math::exp:
      return unary(I::exp, a[0]);
    case Math::log:
      return unary(I::log, a[0]);
    case Math::log10:
      return unary(I::log10, a[0]);
    case Math::log2:
      return unary(I::log2, a[0]);
    case Math::tan:
      return library("tan", a);
    case Math::asin:
      return library("asin", a);
    case Math::acos:
      return library("acos", a);
    case Math::atan:
      return library("atan", a);
    case Math::sinh:
      return library("sinh", a);
    case Math::cosh:
      return library("cosh", a);
    case Math::tanh:
      return library("tanh", a);
    case Math::atan2:
      return library("atan2", a);
    case Math::fmod:
      return library("fmod", a);
    case Math::minimum:
    case Math::maximum: {
      llvm::Value *x = n.math == Math::minimum ? a[0] : a[1], *y = n.math == Math::minimum ? a[1] : a[0];
      llvm::Value *first = t == Type::int64 ? builder_.CreateICmpSLT(x, y) : builder_.CreateFCmpOLT(x, y);
      return builder_.CreateSelect(first, a[0], a[1]);
    }
    case Math::real:
      return re(a[0]);
    case Math::imaginary:
      return im(a[0]);
    case Math::truncate_int64:
      return saturate(a[0]);
    case Math::to_bit:
      if (t == Type::int64)
        return wrap(a[0]);
      // Numbers beyond 2^51 or so wrap by their low bits in LuaJIT; saturation keeps those of all that fit int64.
      return wrap(saturate(unary(I::rint, a[0])));
    case Math::bit_and:
      return wrap(builder_.CreateAnd(a[0], a[1]));
    case Math::bit_or:
      return wrap(builder_.CreateOr(a[0], a[1]));
    case Math::bit_xor:
      return wrap(builder_.CreateXor(a[0], a[1]));
    case Math::bit_not:
      return wrap(builder_.CreateNot(a[0]));
    case Math::byte_swap:
      return builder_.CreateSExt(unary(I::bswap, builder_.CreateTrunc(a[0], i32_)), i64_);
    case Math::shift_left:
    case Math::shift_right:
    case Math::shift_arithmetic:
    case Math::rotate_left:
    case Math::rotate_right: {
      llvm::Value *x = builder_.CreateTrunc(a[0], i32_);
      llvm::Value *by = builder_.CreateAnd(builder_.CreateTrunc(a[1], i32_), builder_.getInt32(31));
      llvm::Value *out = nullptr;
      switch (n.math) {
      case Math::shift_left:
        out = builder_.CreateShl(x, by);
        break;
      case Math::shift_right:
        out = builder_.CreateLShr(x, by);
        break;
      case Math::shift_arithmetic:
        out = builder_.CreateAShr(x, by);
        break;
      default:
        out = builder_.CreateIntrinsic(n.math == Math::rotate_left ? I::fshl : I::fshr, {i32_}, {x, x, by});
      }
      return builder_.CreateSExt(out, i64_);
    }
    }
    return nullptr;
  }

  llvm::Value *wrap(llvm::Value *v) { return builder_.CreateSExt(builder_.CreateTrunc(v, i32_), i64_); }

  // ----------------------------------------------------------------------------------------------------- entry
  // --------
  // A scalar argument in memory: double, int64, int32 (bool) or two doubles.
  llvm::Value *scalar_at(llvm::Value *pointer, Type t) {
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
  void fields_of(llvm::Value *given, const Array &array, std::vector<llvm::Value *> &arguments) {
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

  void entry() {
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

  struct Loop {
    llvm::BasicBlock *next, *end;
  };

  llvm::LLVMContext &context_;
  const kernel::Module &module_;
  const Options options_;
  std::unique_ptr<llvm::Module> out_;
  llvm::IRBuilder<> builder_;
  llvm::DIBuilder debug_;
  llvm::DIFile *file_ = nullptr;
  llvm::DISubprogram *scope_ = nullptr;
  llvm::Type *i1_, *i8_, *i32_, *i64_, *f32_, *f64_, *pointer_;
  llvm::StructType *complex_;
  llvm::MDNode *field_tag_;
  std::vector<llvm::MDNode *> element_tags_;
  std::map<std::string, llvm::Constant *> texts_;
  std::vector<std::size_t> sizes_; // of functions (inlined_size)
  std::vector<llvm::Function *> functions_;
  const Function *f_ = nullptr;
  llvm::Function *function_ = nullptr;
  llvm::Value *failure_ = nullptr;
  std::vector<llvm::Value *> results_;
  std::vector<llvm::AllocaInst *> variables_;
  std::vector<Memory> memory_;
  std::vector<Loop> loops_;
  std::vector<llvm::MDNode *> groups_; // of the parallel loops around
};

} // namespace

std::unique_ptr<llvm::Module> generate(llvm::LLVMContext &context, const kernel::Module &module,
                                       const Options &options) {
  return Generator(context, module, options).run();
}

} // namespace perigee::llvm_backend
