// Optimises what codegen.cpp makes, and puts it into memory as machine code.
#include "core/abi.hpp"
#include "core/status.hpp"
#include "llvm/codegen.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "kernel/kernel_abi.h"
#include "llvm/llvm_abi.h"
}
#pragma GCC visibility pop

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <list>
#include <llvm/ADT/StringExtras.h>
#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/IR/DiagnosticInfo.h>
#include <llvm/IR/DiagnosticPrinter.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/SHA256.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/TargetParser/Host.h>
#include <mutex>
#include <optional>
#include <set>
#include <unistd.h>

static_assert(sizeof(pg_kernel_failure) == sizeof(perigee::llvm_backend::Failure));

namespace perigee::llvm_backend {

// A compiled module. Several Lua states may hold one.
struct Code {
  kernel::Module source; // compiled again when its texts are asked for
  Options options;
  std::unique_ptr<llvm::orc::LLJIT> jit;
  void *entry = nullptr;
  double seconds = 0;
  bool cached = false;
  std::string report;
  std::mutex texts; // of the two below
  std::string ir, assembly;
};

} // namespace perigee::llvm_backend

struct pg_llvm_code {
  std::shared_ptr<perigee::llvm_backend::Code> code;
};

namespace perigee::llvm_backend {
namespace {

// Vector functions of glibc's libmvec (sysdeps/x86_64/fpu in glibc): those that LLVM's own table leaves out, with AVX2
// and AVX-512. Maximal error 4 ulp. Each has the name _ZGV<isa>N<lanes><v per argument>_<name>.
struct VectorFunction {
  const char *name;
  int arguments;
  bool intrinsic; // called as llvm.<name> too
};
constexpr VectorFunction vector_functions[] = {
    {"sin", 1, true},    {"cos", 1, true},    {"exp", 1, true},   {"log", 1, true},   {"pow", 2, true},
    {"log10", 1, true},  {"log2", 1, true},   {"exp2", 1, true},  {"tan", 1, false},  {"asin", 1, false},
    {"acos", 1, false},  {"atan", 1, false},  {"sinh", 1, false}, {"cosh", 1, false}, {"tanh", 1, false},
    {"atan2", 2, false}, {"hypot", 2, false},
};

// Names that VecDesc points into must live for ever.
struct VectorTable {
  std::vector<std::string> names;
  std::vector<llvm::VecDesc> entries;

  explicit VectorTable(bool avx512) {
    void *library = dlopen("libmvec.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!library)
      return;
    names.reserve(std::size(vector_functions) * 32);
    auto keep = [&](std::string name) -> llvm::StringRef { return names.emplace_back(std::move(name)); };
    for (const VectorFunction &f : vector_functions)
      for (const bool single : {false, true}) {
        const std::string parameters(std::size_t(f.arguments), 'v');
        const struct {
          char isa;
          int doubles;
        } forms[] = {{'b', 2}, {'d', 4}, {'e', 8}};
        for (const auto &form : forms) {
          if (form.isa == 'e' && !avx512)
            continue;
          const int lanes = single ? 2 * form.doubles : form.doubles;
          const std::string scalar = std::string(f.name) + (single ? "f" : "");
          const std::string vector =
              std::string("_ZGV") + form.isa + "N" + std::to_string(lanes) + parameters + "_" + scalar;
          if (!dlsym(library, vector.c_str()))
            continue; // an older glibc
          const llvm::StringRef vector_name = keep(vector);
          const llvm::StringRef prefix = keep("_ZGV_LLVM_N" + std::to_string(lanes) + parameters);
          auto entry = [&](const std::string &name) {
            entries.emplace_back(keep(name), vector_name, llvm::ElementCount::getFixed(unsigned(lanes)), false, prefix);
          };
          entry(scalar);
          if (f.intrinsic)
            entry(std::string("llvm.") + f.name + (single ? ".f32" : ".f64"));
        }
      }
  }
};

struct Machine {
  std::string cpu, features, triple;
  bool avx512 = false;
  const llvm::Target *target = nullptr;

  Machine() {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    triple = llvm::sys::getProcessTriple();
    cpu = llvm::sys::getHostCPUName().str();
    const auto host = llvm::sys::getHostCPUFeatures();
    for (const auto &[name, has] : host)
      features += (features.empty() ? "" : ",") + std::string(has ? "+" : "-") + name.str();
    avx512 = host.lookup("avx512f") && host.lookup("avx512dq") && host.lookup("avx512vl");
    std::string problem;
    target = llvm::TargetRegistry::lookupTarget(triple, problem);
    if (!target)
      throw InternalError("LLVM has no code generator for this machine: " + problem);
  }
};

const Machine &machine() {
  static const Machine made;
  return made;
}

const VectorTable &vector_table() {
  static const VectorTable made(machine().avx512);
  return made;
}

std::unique_ptr<llvm::TargetMachine> target_machine(const Options &options) {
  llvm::TargetOptions target;
  target.AllowFPOpFusion = options.fastmath ? llvm::FPOpFusion::Fast : llvm::FPOpFusion::Strict;
  return std::unique_ptr<llvm::TargetMachine>(machine().target->createTargetMachine(
      machine().triple, machine().cpu, machine().features, target, llvm::Reloc::PIC_, std::nullopt,
      options.quick ? llvm::CodeGenOptLevel::None : llvm::CodeGenOptLevel::Aggressive, /*JIT=*/true));
}

// Keeps what the vectorisers say of loops.
class Remarks : public llvm::DiagnosticHandler {
 public:
  explicit Remarks(std::string &out) : out_(out) {}
  bool handleDiagnostics(const llvm::DiagnosticInfo &info) override {
    const char *kind = nullptr;
    switch (info.getKind()) {
    case llvm::DK_OptimizationRemark:
      kind = "passed";
      break;
    case llvm::DK_OptimizationRemarkMissed:
      kind = "missed";
      break;
    case llvm::DK_OptimizationRemarkAnalysis:
    case llvm::DK_OptimizationRemarkAnalysisFPCommute:
    case llvm::DK_OptimizationRemarkAnalysisAliasing:
      kind = "analysis";
      break;
    default:
      return info.getSeverity() != llvm::DS_Error;
    }
    const auto &remark = static_cast<const llvm::DiagnosticInfoOptimizationBase &>(info);
    if (!wanted(remark.getPassName()))
      return true;
    const auto &location = remark.getLocation();
    out_ += std::to_string(location.isValid() ? location.getLine() : 0) + "\t" +
            std::to_string(location.isValid() ? location.getColumn() : 0) + "\t" + kind + "\t" +
            remark.getRemarkName().str() + "\t" + remark.getMsg() + "\n";
    return true;
  }
  bool wanted(llvm::StringRef pass) const { return pass == "loop-vectorize"; }
  bool isAnalysisRemarkEnabled(llvm::StringRef pass) const override { return wanted(pass); }
  bool isMissedOptRemarkEnabled(llvm::StringRef pass) const override { return wanted(pass); }
  bool isPassedOptRemarkEnabled(llvm::StringRef pass) const override { return wanted(pass); }
  bool isAnyRemarkEnabled() const override { return true; }

 private:
  std::string &out_;
};

// Beyond these sizes -O3 takes seconds, and then minutes: 400 while loops 6 s, 700 of them 43 s; nothing short of
// leaving out all passes that look at loops helps. Such kernels are compiled in time about linear in their size.
constexpr std::size_t huge = 8000, many_loops = 256;

std::size_t count_loops(const std::vector<kernel::Instruction> &steps) {
  std::size_t count = 0;
  for (const kernel::Instruction &s : steps) {
    count += s.step == kernel::Step::for_ || s.step == kernel::Step::while_ || s.step == kernel::Step::repeat;
    for (const auto &b : s.blocks)
      count += count_loops(b);
  }
  return count;
}

bool too_large(const kernel::Module &module) {
  std::size_t size = 0, loops = 0;
  for (const kernel::Function &f : module.functions) {
    size += f.nodes.size();
    loops += count_loops(f.body);
  }
  return size > huge || loops > many_loops;
}

template <class T> T need(llvm::Expected<T> expected, const char *what) {
  if (!expected)
    throw InternalError(std::string(what) + ": " + llvm::toString(expected.takeError()));
  return std::move(*expected);
}
void need(llvm::Error error, const char *what) {
  if (error)
    throw InternalError(std::string(what) + ": " + llvm::toString(std::move(error)));
}

void optimise(llvm::Module &module, llvm::TargetMachine &target, const Options &options) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager calls;
  llvm::ModuleAnalysisManager modules;
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = tuning.SLPVectorization = options.vectorize;
  tuning.LoopInterleaving = options.vectorize;
  llvm::PassBuilder builder(&target, tuning);
  const VectorTable &table = vector_table();
  functions.registerPass([&] {
    llvm::TargetLibraryInfoImpl library(llvm::Triple(machine().triple));
    if (options.vectorize)
      library.addVectorizableFunctions(table.entries);
    return llvm::TargetLibraryAnalysis(library);
  });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(calls);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, calls, modules);
  if (!options.quick) {
    builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
    return;
  }
  llvm::ModulePassManager passes;
  need(builder.parsePassPipeline(passes, "function(sroa,early-cse,simplifycfg)"), "LLVM's passes");
  passes.run(module, modules);
}

llvm::SmallVector<char, 0> emit(llvm::Module &module, llvm::TargetMachine &target, llvm::CodeGenFileType type) {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (target.addPassesToEmitFile(passes, stream, nullptr, type))
    throw InternalError("LLVM cannot write code for this machine");
  passes.run(module);
  return bytes;
}

// The module after optimisation; what the vectorisers say goes to `report`.
std::unique_ptr<llvm::Module> optimised(llvm::LLVMContext &context, llvm::TargetMachine &target, const Code &code,
                                        std::string &report) {
  context.setDiagnosticHandler(std::make_unique<Remarks>(report));
  auto module = generate(context, code.source, code.options);
  module->setTargetTriple(machine().triple);
  module->setDataLayout(target.createDataLayout());
  for (llvm::Function &f : *module)
    if (!f.isDeclaration()) {
      f.addFnAttr("target-cpu", machine().cpu);
      f.addFnAttr("target-features", machine().features);
    }
  if (code.options.quick)
    report += "0\t0\tnote\tQuick\t\n";
  optimise(*module, target, code.options);
  return module;
}

// ------------------------------------------------------------------------------------------ code kept on disk --------
constexpr const char *magic = "perigee kernel 1\n";

std::filesystem::path kept_at(const std::string &folder, std::string_view identity, const Options &options) {
  llvm::SHA256 hash;
  for (const std::string_view part :
       {std::string_view(PERIGEE_VERSION), std::string_view(LLVM_VERSION_STRING), std::string_view(machine().cpu),
        std::string_view(machine().features), identity}) {
    hash.update(llvm::StringRef(part.data(), part.size()));
    hash.update(llvm::StringRef("\0", 1));
  }
  const char bits[] = {options.fastmath, options.bounds, options.vectorize};
  hash.update(llvm::StringRef(bits, sizeof bits));
  return std::filesystem::path(folder) / (llvm::toHex(hash.final(), true) + ".kernel");
}

std::string digest(std::string_view report, llvm::StringRef object) {
  llvm::SHA256 hash;
  hash.update(llvm::StringRef(report.data(), report.size()));
  hash.update(object);
  return llvm::toHex(hash.final(), true);
}

// A file is the magic line, the remarks' size and the object's, the hash of both, and both. Nullopt for none, or one
// that is no such file, or damaged.
std::optional<std::pair<std::string, std::string>> read_kept(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::string all{std::istreambuf_iterator<char>(file), {}};
  const std::size_t start = std::strlen(magic), hashed = start + 2 * sizeof(std::uint64_t), head = hashed + 64;
  if (!file || all.size() < head || !all.starts_with(magic))
    return {};
  std::uint64_t sizes[2];
  std::memcpy(sizes, all.data() + start, sizeof sizes);
  if (sizes[0] > all.size() - head || sizes[1] != all.size() - head - sizes[0])
    return {};
  std::pair<std::string, std::string> kept{all.substr(head, sizes[0]), all.substr(head + sizes[0])};
  if (digest(kept.first, kept.second) != all.substr(hashed, 64))
    return {};
  return kept;
}

void keep(const std::filesystem::path &path, const std::string &report, llvm::StringRef object) {
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  // Under a name of its own first: others may be writing or reading the same.
  const std::filesystem::path own = path.string() + "." + std::to_string(getpid()) + "." +
                                    std::to_string(reinterpret_cast<std::uintptr_t>(&report)) + ".new";
  {
    std::ofstream file(own, std::ios::binary);
    const std::uint64_t sizes[2] = {report.size(), object.size()};
    file << magic;
    file.write(reinterpret_cast<const char *>(sizes), sizeof sizes);
    file << digest(report, object) << report;
    file.write(object.data(), std::streamsize(object.size()));
    if (!file.flush()) {
      file.close();
      std::filesystem::remove(own, ignored);
      return;
    }
  }
  std::filesystem::rename(own, path, ignored);
  if (ignored)
    std::filesystem::remove(own, ignored);
}

void compile(Code &code, const std::string &folder, std::string_view identity) {
  const auto start = std::chrono::steady_clock::now();
  std::unique_ptr<llvm::MemoryBuffer> object;
  const std::filesystem::path path = folder.empty() ? "" : kept_at(folder, identity, code.options);
  if (!folder.empty())
    if (auto kept = read_kept(path)) {
      vector_table(); // loads the library that the code calls
      code.report = std::move(kept->first);
      object = llvm::MemoryBuffer::getMemBufferCopy(kept->second, "kernel");
      code.cached = true;
    }
  if (!object) {
    llvm::LLVMContext context;
    const auto target = target_machine(code.options);
    const auto module = optimised(context, *target, code, code.report);
    auto bytes = emit(*module, *target, llvm::CodeGenFileType::ObjectFile);
    if (!folder.empty())
      keep(path, code.report, llvm::StringRef(bytes.data(), bytes.size()));
    object = std::make_unique<llvm::SmallVectorMemoryBuffer>(std::move(bytes), false);
  }
  code.jit = need(llvm::orc::LLJITBuilder().create(), "LLVM's linker");
  auto &library = code.jit->getMainJITDylib();
  library.addGenerator(
      need(llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(code.jit->getDataLayout().getGlobalPrefix()),
           "LLVM's linker"));
  // libperigee may be loaded where the process does not look for symbols.
  need(library.define(llvm::orc::absoluteSymbols(
           {{code.jit->mangleAndIntern(spawn_name),
             {llvm::orc::ExecutorAddr::fromPtr(&pg_kernel_spawn), llvm::JITSymbolFlags::Exported}}})),
       "LLVM's linker");
  need(code.jit->addObjectFile(std::move(object)), "LLVM's linker");
  code.entry = need(code.jit->lookup(entry_name), "LLVM's linker").toPtr<void *>();
  code.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Code that this process made last, for kernels that travel to other Lua states: each of them would compile it again.
class Recent {
 public:
  // The code known by this key, or made by make(): once, when several threads ask for it at a time.
  template <class Make> std::shared_ptr<Code> get(const std::string &key, bool look, Make &&make) {
    if (look) {
      std::unique_lock lock(mutex_);
      made_.wait(lock, [&] { return !busy_.contains(key); });
      for (auto i = entries_.begin(); i != entries_.end(); ++i)
        if (i->first == key) {
          entries_.splice(entries_.begin(), entries_, i);
          return i->second;
        }
      busy_.insert(key);
    }
    struct Done {
      ~Done() {
        if (look) {
          const std::lock_guard lock(recent.mutex_);
          recent.busy_.erase(key);
          recent.made_.notify_all();
        }
      }
      Recent &recent;
      const std::string &key;
      bool look;
    } done{*this, key, look};
    std::shared_ptr<Code> code = make();
    const std::lock_guard lock(mutex_);
    entries_.emplace_front(key, code);
    if (entries_.size() > most)
      entries_.pop_back();
    return code;
  }

 private:
  static constexpr std::size_t most = 128;
  std::mutex mutex_;
  std::condition_variable made_;
  std::set<std::string> busy_;
  std::list<std::pair<std::string, std::shared_ptr<Code>>> entries_; // the last used first
};

Recent &recent() {
  static Recent made;
  return made;
}

void write_texts(Code &code) {
  llvm::LLVMContext context;
  std::string again;
  const auto target = target_machine(code.options);
  const auto module = optimised(context, *target, code, again);
  {
    llvm::raw_string_ostream stream(code.ir);
    module->print(stream, nullptr);
  }
  const auto text = emit(*module, *target, llvm::CodeGenFileType::AssemblyFile);
  code.assembly.assign(text.begin(), text.end());
}

} // namespace
} // namespace perigee::llvm_backend

using namespace perigee;

int32_t pg_llvm_compile(pg_llvm_code **out, const void *module, int32_t bits, const char *folder, const char *identity,
                        int64_t identity_size) {
  return guard([&] {
    const std::string known(identity, std::size_t(identity_size));
    const std::string key =
        std::to_string(bits & (PG_LLVM_FASTMATH | PG_LLVM_UNCHECKED | PG_LLVM_SCALAR)) + " " + known;
    auto handle = std::make_unique<pg_llvm_code>();
    handle->code = llvm_backend::recent().get(key, bits & PG_LLVM_SHARED, [&] {
      auto code = std::make_shared<llvm_backend::Code>();
      code->source = *static_cast<const kernel::Module *>(module);
      code->options.fastmath = bits & PG_LLVM_FASTMATH;
      code->options.bounds = !(bits & PG_LLVM_UNCHECKED);
      code->options.vectorize = !(bits & PG_LLVM_SCALAR);
      code->options.quick = llvm_backend::too_large(code->source);
      llvm_backend::compile(*code, folder ? folder : "", known);
      return code;
    });
    *out = handle.release();
  });
}

void *pg_llvm_entry(const pg_llvm_code *code) {
  return code->code->entry;
}

int32_t pg_llvm_text(const char **out, pg_llvm_code *handle, const char *what) {
  return guard([&] {
    llvm_backend::Code &code = *handle->code;
    const std::string_view name = what;
    const std::lock_guard lock(code.texts);
    if ((name == "llvm" || name == "asm") && code.ir.empty())
      llvm_backend::write_texts(code);
    *out = name == "llvm" ? code.ir.c_str() : name == "asm" ? code.assembly.c_str() : code.report.c_str();
  });
}

int32_t pg_llvm_cached(const pg_llvm_code *code) {
  return code->code->cached;
}

double pg_llvm_seconds(const pg_llvm_code *code) {
  return code->code->seconds;
}

void pg_llvm_close(pg_llvm_code *code) {
  delete code;
}
