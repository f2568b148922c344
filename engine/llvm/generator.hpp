// What the files of the code generator share.
#pragma once

#include "llvm/codegen.hpp"

#include "core/abi.hpp"
#include "core/status.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <llvm/IR/DIBuilder.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/MDBuilder.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>
#include <set>

namespace perigee::llvm_backend {

using namespace kernel;

enum Code { index_outside = 1, index_fraction, store_misfit, modulo_zero, start_fraction, step_zero };

// An array inside a function: its fields as values, loaded once.
struct Memory {
  llvm::Value *data = nullptr;
  std::vector<llvm::Value *> shape, strides;
};

class Generator {
 public:
  Generator(llvm::LLVMContext &context, const kernel::Module &module, const Options &options);

  std::unique_ptr<llvm::Module> run();

 private:
  // ------------------------------------------------------------------- functions, statements, the entry (codegen.cpp)
  llvm::Type *type(Type t) const;
  llvm::Type *element(std::int32_t dtype) const;
  static bool is_signed(std::int32_t dtype);
  static int bits(std::int32_t dtype);
  llvm::Constant *text(const std::string &s);
  std::size_t inlined_size(std::size_t index);
  void declare(std::size_t index);
  void define(std::size_t index);
  void place(Position at);
  llvm::BasicBlock *new_block(const char *name) { return llvm::BasicBlock::Create(context_, name, function_); }
  llvm::Constant *record(Code code, Position at, const std::string &name, int dimension);
  llvm::Function *failing();
  void require(llvm::Value *good, Code code, Position at, const std::string &name, int dimension, llvm::Value *index,
               llvm::Value *length, llvm::Value *value);
  void block(const std::vector<Instruction> &steps);
  void jump(llvm::BasicBlock *to);
  void step(const Instruction &s);
  llvm::Value *scalar_at(llvm::Value *pointer, Type t);
  void fields_of(llvm::Value *given, const Array &array, std::vector<llvm::Value *> &arguments);
  void entry();

  // ---------------------------------------------------------------------------------------- loops (codegen_loops.cpp)
  struct Count { // of a loop: values, and whether its first round runs
    llvm::Value *start = nullptr, *limit = nullptr, *step = nullptr, *runs = nullptr;
    std::function<llvm::Value *(llvm::Value *)> inside; // the limit
  };
  Count counted(const Instruction &s);
  void name_loop(llvm::Instruction *back, const Instruction &s);
  void for_loop(const Instruction &s);
  llvm::Value *whole_start(const Instruction &s);
  std::pair<llvm::Value *, llvm::Value *> extent(std::int32_t a);
  llvm::Value *apart(const Instruction &s);
  llvm::Function *piece_entry(const Instruction &s, llvm::StructType *given);
  void spawn(const Instruction &s);

  // -------------------------------------------------------------------------------------- arrays (codegen_memory.cpp)
  llvm::Value *check_index(llvm::Value *i, std::int32_t array, int dimension, Position at);
  llvm::Value *index(Ref ref, std::int32_t array, int dimension, bool checked);
  llvm::Value *element_pointer(std::int32_t a, const std::vector<Ref> &arguments, std::int64_t checked);
  void tag(llvm::Instruction *access, const Array &array);
  llvm::Value *load(const Node &n);
  llvm::Value *atomic(const Node &n);
  llvm::Value *as_element(llvm::Value *v, Type from, const Array &array, Position at);
  void store(const Instruction &s);

  // --------------------------------------------------------------------------------- expressions (codegen_values.cpp)
  const Node &node(Ref r) const { return f_->nodes[std::size_t(r)]; }
  llvm::Value *unary(llvm::Intrinsic::ID id, llvm::Value *v) { return builder_.CreateUnaryIntrinsic(id, v); }
  llvm::Value *widen(llvm::Value *v) { return v->getType() == f32_ ? builder_.CreateFPExt(v, f64_) : v; }
  llvm::Value *saturate(llvm::Value *v);
  llvm::Value *complex(llvm::Value *re, llvm::Value *im);
  llvm::Value *re(llvm::Value *v) { return builder_.CreateExtractValue(v, 0u); }
  llvm::Value *im(llvm::Value *v) { return builder_.CreateExtractValue(v, 1u); }
  llvm::Value *number(const Node &n);
  llvm::Value *value(Ref ref);
  llvm::Value *convert(llvm::Value *v, Type from, Type to);
  llvm::Value *arithmetic(const Node &n);
  llvm::Value *modulo(const Node &n);
  llvm::Value *compare(const Node &n);
  bool harmless(Ref ref) const;
  llvm::Value *shortcut(const Node &n);
  std::vector<llvm::Value *> call(const Node &n);
  llvm::Value *library(const char *name, const std::vector<llvm::Value *> &arguments);
  llvm::Value *power_of(llvm::Value *x, double exponent);
  llvm::Value *mathematics(const Node &n);
  llvm::Value *wrap(llvm::Value *v) { return builder_.CreateSExt(builder_.CreateTrunc(v, i32_), i64_); }

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
  std::map<llvm::Constant *, llvm::GlobalVariable *> numbers_;
  std::vector<std::size_t> sizes_; // of functions (inlined_size)
  std::vector<llvm::Function *> functions_;
  const Function *f_ = nullptr;
  llvm::Function *function_ = nullptr, *failing_ = nullptr;
  llvm::Value *failure_ = nullptr;
  std::vector<llvm::Value *> results_;
  std::vector<llvm::AllocaInst *> variables_;
  std::vector<Memory> memory_;
  std::vector<Loop> loops_;
  std::vector<llvm::MDNode *> groups_; // of the parallel loops around
};

} // namespace perigee::llvm_backend
