// Arrays in LLVM's form: indices and their checks, elements of every dtype.
#include "llvm/generator.hpp"

namespace perigee::llvm_backend {

// The index, which must be inside; one below zero counts from the end, and is given as the one it stands
// for.
llvm::Value *Generator::check_index(llvm::Value *i, std::int32_t array, int dimension, Position at) {
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
llvm::Value *Generator::index(Ref ref, std::int32_t array, int dimension, bool checked) {
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

llvm::Value *Generator::element_pointer(std::int32_t a, const std::vector<Ref> &arguments, std::int64_t checked) {
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
      offset =
          offset ? builder_.CreateAdd(builder_.CreateMul(offset, m.shape[d], "", false, true), i, "", false, true) : i;
    else {
      llvm::Value *term = builder_.CreateMul(i, m.strides[d], "", false, true);
      offset = offset ? builder_.CreateAdd(offset, term, "", false, true) : term;
    }
  }
  return builder_.CreateInBoundsGEP(element(array.dtype), m.data, offset ? offset : builder_.getInt64(0));
}

// What an access to an element can share memory with, and the parallel loops that it is part of.
void Generator::tag(llvm::Instruction *access, const Array &array) {
  access->setMetadata(llvm::LLVMContext::MD_tbaa, element_tags_[std::size_t(array.dtype)]);
  if (!array.lengths.empty() && !array.shared)
    return; // the function's own: every round writes the same one
  if (groups_.size() == 1)
    access->setMetadata(llvm::LLVMContext::MD_access_group, groups_[0]);
  else if (!groups_.empty())
    access->setMetadata(llvm::LLVMContext::MD_access_group,
                        llvm::MDNode::get(context_, std::vector<llvm::Metadata *>(groups_.begin(), groups_.end())));
}

llvm::Value *Generator::load(const Node &n) {
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
llvm::Value *Generator::atomic(const Node &n) {
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
llvm::Value *Generator::as_element(llvm::Value *v, Type from, const Array &array, Position at) {
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

void Generator::store(const Instruction &s) {
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

} // namespace perigee::llvm_backend
