// Expressions in LLVM's form.
#include "llvm/generator.hpp"

namespace perigee::llvm_backend {

// To int64 towards zero; what does not fit becomes the nearest that does, NaN 0.
llvm::Value *Generator::saturate(llvm::Value *v) {
  return builder_.CreateIntrinsic(llvm::Intrinsic::fptosi_sat, {i64_, v->getType()}, {v});
}

llvm::Value *Generator::complex(llvm::Value *re, llvm::Value *im) {
  llvm::Value *out = llvm::UndefValue::get(complex_);
  return builder_.CreateInsertValue(builder_.CreateInsertValue(out, re, 0u), im, 1u);
}

// A float known when it is compiled. In huge functions each stands in memory of its own: LLVM compares each constant of
// a function with all others, which was half of the time for 60000.
llvm::Value *Generator::number(const Node &n) {
  llvm::Constant *known = llvm::ConstantFP::get(type(n.type), n.number);
  if (!options_.quick || known->isNullValue())
    return known;
  llvm::GlobalVariable *&place = numbers_[known];
  if (!place) // not constant: LLVM would put it back
    place =
        new llvm::GlobalVariable(*out_, known->getType(), false, llvm::GlobalValue::PrivateLinkage, known, "number");
  return builder_.CreateLoad(known->getType(), place);
}

llvm::Value *Generator::value(Ref ref) {
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
      return number(n);
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

llvm::Value *Generator::convert(llvm::Value *v, Type from, Type to) {
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

llvm::Value *Generator::arithmetic(const Node &n) {
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
llvm::Value *Generator::modulo(const Node &n) {
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

llvm::Value *Generator::compare(const Node &n) {
  llvm::Value *a = value(n.a), *b = value(n.b);
  const Type t = node(n.a).type;
  if (t == Type::complex128) {
    llvm::Value *same = builder_.CreateAnd(builder_.CreateFCmpOEQ(re(a), re(b)), builder_.CreateFCmpOEQ(im(a), im(b)));
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
bool Generator::harmless(Ref ref) const {
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

llvm::Value *Generator::shortcut(const Node &n) {
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
std::vector<llvm::Value *> Generator::call(const Node &n) {
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
llvm::Value *Generator::library(const char *name, const std::vector<llvm::Value *> &arguments) {
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
llvm::Value *Generator::power_of(llvm::Value *x, double exponent) {
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

llvm::Value *Generator::mathematics(const Node &n) {
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

} // namespace perigee::llvm_backend
