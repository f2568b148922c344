// Loops in LLVM's form: counted, in vectors, in pieces on several threads.
#include "llvm/generator.hpp"

namespace perigee::llvm_backend {

// Tells LLVM where the loop of this branch back begins in the source, and whether its rounds are independent.
void Generator::name_loop(llvm::Instruction *back, const Instruction &s) {
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

Generator::Count Generator::counted(const Instruction &s) {
  const Type counter = f_->variables[std::size_t(s.variable)].type;
  const bool whole = counter == Type::int64;
  Count out;
  out.start = whole ? whole_start(s) : value(s.a);
  out.limit = value(s.b);
  out.step = value(s.c);
  const Node &by = node(s.c);
  const bool known = by.op == Op::constant;
  const bool up = known && (whole ? by.integer > 0 : by.number > 0);
  if (!known && options_.bounds)
    require(whole ? builder_.CreateICmpNE(out.step, builder_.getInt64(0))
                  : builder_.CreateFCmpUNE(out.step, llvm::ConstantFP::get(f64_, 0)),
            step_zero, s.at, f_->variables[std::size_t(s.variable)].name, 0, nullptr, nullptr, nullptr);
  llvm::Value *positive = known   ? builder_.getInt1(up)
                          : whole ? builder_.CreateICmpSGT(out.step, builder_.getInt64(0))
                                  : builder_.CreateFCmpOGT(out.step, llvm::ConstantFP::get(f64_, 0));
  llvm::Value *is_number = nullptr;
  if (whole) { // the last whole number before or at the limit, far enough from the ends that i + step cannot overflow
    const std::int64_t far = std::int64_t(1) << 62;
    auto within = [&](llvm::Value *v, std::int64_t low, std::int64_t high) {
      v = builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, v, builder_.getInt64(std::uint64_t(high)));
      return builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, v, builder_.getInt64(std::uint64_t(low)));
    };
    if (node(s.b).type != Type::int64) {
      is_number = builder_.CreateFCmpORD(out.limit, out.limit);
      llvm::Value *floor = unary(llvm::Intrinsic::floor, out.limit), *ceil = unary(llvm::Intrinsic::ceil, out.limit);
      out.limit = saturate(builder_.CreateSelect(positive, floor, ceil));
    }
    out.limit = within(out.limit, -far, far);
    out.step = within(out.step, 1 - far, far - 1);
  }
  out.inside = [this, whole, known, up, positive, limit = out.limit](llvm::Value *i) {
    llvm::Value *below = whole ? builder_.CreateICmpSLE(i, limit) : builder_.CreateFCmpOLE(i, limit);
    if (known && up)
      return below;
    llvm::Value *above = whole ? builder_.CreateICmpSGE(i, limit) : builder_.CreateFCmpOGE(i, limit);
    return known ? above : builder_.CreateSelect(positive, below, above);
  };
  out.runs = out.inside(out.start);
  if (is_number)
    out.runs = builder_.CreateAnd(out.runs, is_number);
  return out;
}

void Generator::for_loop(const Instruction &s) {
  const Count count = counted(s);
  const Type counter = f_->variables[std::size_t(s.variable)].type;
  llvm::BasicBlock *before = builder_.GetInsertBlock();
  llvm::BasicBlock *body = new_block("for"), *next = new_block("next"), *end = new_block("end");
  builder_.CreateCondBr(count.runs, body, end);
  builder_.SetInsertPoint(body);
  llvm::PHINode *i = builder_.CreatePHI(type(counter), 2);
  i->addIncoming(count.start, before);
  builder_.CreateStore(i, variables_[std::size_t(s.variable)]);
  if (s.integer == 1)
    groups_.push_back(llvm::MDNode::getDistinct(context_, {}));
  loops_.push_back({next, end});
  block(s.blocks[0]);
  loops_.pop_back();
  jump(next);
  builder_.SetInsertPoint(next);
  place(s.at);
  llvm::Value *after =
      counter == Type::int64 ? builder_.CreateAdd(i, count.step, "", false, true) : builder_.CreateFAdd(i, count.step);
  i->addIncoming(after, next);
  name_loop(builder_.CreateCondBr(count.inside(after), body, end), s);
  if (s.integer == 1)
    groups_.pop_back();
  builder_.SetInsertPoint(end);
}

// The start of an integer loop may come as a float, which must then be whole.
llvm::Value *Generator::whole_start(const Instruction &s) {
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

// The first byte of an array and that after its last, as integers.
std::pair<llvm::Value *, llvm::Value *> Generator::extent(std::int32_t a) {
  const Array &array = f_->arrays[std::size_t(a)];
  const Memory &m = memory_[std::size_t(a)];
  llvm::Value *low = builder_.getInt64(0), *high = builder_.getInt64(1);
  if (array.contiguous) {
    for (llvm::Value *n : m.shape)
      high = builder_.CreateMul(high, n);
  } else {
    for (std::size_t d = 0; d < m.shape.size(); ++d) {
      llvm::Value *reach = builder_.CreateMul(m.strides[d], builder_.CreateSub(m.shape[d], builder_.getInt64(1)));
      auto add = [&](llvm::Value *to, llvm::Intrinsic::ID which) {
        return builder_.CreateAdd(to, builder_.CreateBinaryIntrinsic(which, reach, builder_.getInt64(0)));
      };
      low = add(low, llvm::Intrinsic::smin);
      high = add(high, llvm::Intrinsic::smax);
    }
  }
  llvm::Value *data = builder_.CreatePtrToInt(m.data, i64_);
  llvm::Value *size = builder_.getInt64(out_->getDataLayout().getTypeAllocSize(element(array.dtype)));
  return {builder_.CreateAdd(data, builder_.CreateMul(low, size)),
          builder_.CreateAdd(data, builder_.CreateMul(high, size))};
}

// Whether no two arrays that a parallel loop needs apart share memory.
llvm::Value *Generator::apart(const Instruction &s) {
  llvm::Value *all = builder_.getTrue();
  for (std::size_t i = 0; i + 2 < s.apart.size(); i += 3) {
    const std::int32_t a = s.apart[i], b = s.apart[i + 1];
    const auto [a_low, a_high] = extent(a);
    const auto [b_low, b_high] = extent(b);
    llvm::Value *good = builder_.CreateOr(builder_.CreateICmpULE(a_high, b_low), builder_.CreateICmpULE(b_high, a_low));
    if (s.apart[i + 2] == 1) { // or are one
      const Memory &x = memory_[std::size_t(a)], &y = memory_[std::size_t(b)];
      llvm::Value *same = builder_.CreateICmpEQ(x.data, y.data);
      for (std::size_t d = 0; d < x.shape.size(); ++d)
        same = builder_.CreateAnd(same, builder_.CreateICmpEQ(x.shape[d], y.shape[d]));
      for (std::size_t d = 0; d < x.strides.size(); ++d)
        same = builder_.CreateAnd(same, builder_.CreateICmpEQ(x.strides[d], y.strides[d]));
      good = builder_.CreateOr(good, same);
    }
    all = builder_.CreateAnd(all, good);
  }
  return all;
}

// A C function that takes a piece, as pg_kernel_spawn calls it, to the function of the typed form.
llvm::Function *Generator::piece_entry(const Instruction &s, llvm::StructType *given) {
  llvm::Function *made =
      llvm::Function::Create(llvm::FunctionType::get(i32_, {pointer_, pointer_, i64_, i64_, i64_}, false),
                             llvm::Function::InternalLinkage, "piece", *out_);
  made->addFnAttr(llvm::Attribute::NoUnwind);
  made->addParamAttr(0, llvm::Attribute::NoAlias);
  llvm::DISubprogram *scope = debug_.createFunction(
      file_, "piece", "piece", file_, unsigned(s.at.line), debug_.createSubroutineType(debug_.getOrCreateTypeArray({})),
      unsigned(s.at.line), llvm::DINode::FlagZero, llvm::DISubprogram::SPFlagDefinition);
  made->setSubprogram(scope);
  llvm::IRBuilder<> in(llvm::BasicBlock::Create(context_, "entry", made));
  in.SetCurrentDebugLocation(llvm::DILocation::get(context_, unsigned(s.at.line), unsigned(s.at.column), scope));
  std::vector<llvm::Value *> arguments{made->getArg(0), made->getArg(2), made->getArg(3), made->getArg(4)};
  for (unsigned i = 0; i < given->getNumElements(); ++i)
    arguments.push_back(in.CreateLoad(given->getElementType(i), in.CreateStructGEP(given, made->getArg(1), i)));
  in.CreateRet(in.CreateCall(functions_[std::size_t(s.array)], arguments));
  return made;
}

void Generator::spawn(const Instruction &s) {
  const Count count = counted(s);
  llvm::Value *span = builder_.CreateSub(count.limit, count.start);
  llvm::Value *rounds =
      builder_.CreateSelect(count.runs, builder_.CreateAdd(builder_.CreateSDiv(span, count.step), builder_.getInt64(1)),
                            builder_.getInt64(0));
  llvm::BasicBlock *run = new_block("spawn"), *end = new_block("spawned");
  builder_.CreateCondBr(apart(s), run, end);
  builder_.SetInsertPoint(run);
  auto pieces_of = [&](llvm::Value *n, llvm::Value *by) { // n / by, rounded up
    return builder_.CreateUDiv(builder_.CreateAdd(n, builder_.CreateSub(by, builder_.getInt64(1))), by);
  };
  llvm::Value *grain =
      builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, pieces_of(rounds, builder_.getInt64(most_pieces)),
                                     builder_.getInt64(std::uint64_t(s.integer)));
  builder_.CreateStore(pieces_of(rounds, grain), variables_[std::size_t(s.targets[0])]);

  std::vector<llvm::Value *> values;
  for (const Ref r : s.arguments) {
    if (r >= 0) {
      values.push_back(value(r));
      continue;
    }
    const Memory &m = memory_[std::size_t(-1 - r)];
    values.push_back(m.data);
    values.insert(values.end(), m.shape.begin(), m.shape.end());
    values.insert(values.end(), m.strides.begin(), m.strides.end());
  }
  std::vector<llvm::Type *> types;
  for (llvm::Value *v : values)
    types.push_back(v->getType());
  llvm::StructType *given = llvm::StructType::get(context_, types);
  llvm::IRBuilder<> top(&function_->getEntryBlock(), function_->getEntryBlock().begin());
  llvm::AllocaInst *block = top.CreateAlloca(given, nullptr, "given");
  for (std::size_t i = 0; i < values.size(); ++i)
    builder_.CreateStore(values[i], builder_.CreateStructGEP(given, block, unsigned(i)));

  llvm::FunctionCallee callee = out_->getOrInsertFunction(
      spawn_name, llvm::FunctionType::get(i32_, {pointer_, pointer_, pointer_, i64_, i64_, i64_, i64_}, false));
  llvm::CallInst *status =
      builder_.CreateCall(callee, {failure_, piece_entry(s, given), block, count.start, count.step, rounds, grain});
  status->setDoesNotThrow();
  llvm::BasicBlock *bad = new_block("failed");
  builder_.CreateCondBr(builder_.CreateICmpEQ(status, builder_.getInt32(0)), end, bad,
                        llvm::MDBuilder(context_).createBranchWeights(1u << 20, 1));
  builder_.SetInsertPoint(bad);
  builder_.CreateRet(builder_.getInt32(1));
  builder_.SetInsertPoint(end);
}

} // namespace perigee::llvm_backend
