// The checked simulator behind its C ABI (gpu_sim_abi.h).
#include "core/abi.hpp"
#include "core/status.hpp"
#include "gpu/sim_run.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "gpu/gpu_sim_abi.h"
}
#pragma GCC visibility pop

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>

using namespace perigee;

struct pg_sim_program {
  std::shared_ptr<const sim::Program> program;
};
struct pg_sim_result {
  std::shared_ptr<const sim::Program> program;
  sim::Result result;
};

int32_t pg_sim_compile(pg_sim_program **out, const void *module) {
  return guard([&] {
    auto made = std::make_unique<pg_sim_program>();
    made->program = std::make_shared<const sim::Program>(sim::compile(*static_cast<const kernel::Module *>(module)));
    *out = made.release();
  });
}

int64_t pg_sim_shared_bytes(const pg_sim_program *program) {
  return program->program->shared_bytes;
}

void pg_sim_close(pg_sim_program *program) {
  delete program;
}

int32_t pg_sim_run(pg_sim_result **out, const pg_sim_program *program, const pg_sim_launch *launch,
                   void *const *arguments) {
  return guard([&] {
    sim::Launch how;
    std::copy_n(launch->grid, 3, how.grid);
    std::copy_n(launch->block, 3, how.block);
    how.shared_bytes = launch->shared_bytes;
    how.check_coverage = launch->coverage != 0;
    auto made = std::make_unique<pg_sim_result>();
    made->program = program->program;
    made->result = sim::run(*program->program, how, arguments);
    *out = made.release();
  });
}

void pg_sim_release(pg_sim_result *result) {
  delete result;
}

static_assert(sizeof(pg_sim_counts) == sizeof(sim::Counts));
static_assert(offsetof(pg_sim_counts, branches) == offsetof(sim::Counts, branches));
static_assert(offsetof(pg_sim_counts, syncs) == offsetof(sim::Counts, syncs));

void pg_sim_counts_of(pg_sim_counts *out, const pg_sim_result *result) {
  std::memcpy(out, &result->result.counts, sizeof *out);
}

int32_t pg_sim_sites(const pg_sim_result *result) {
  return int32_t(result->program->sites.size());
}

void pg_sim_site_of(pg_sim_site *out, const pg_sim_result *result, int32_t i) {
  const sim::Site &site = result->program->sites[std::size_t(i)];
  const sim::SiteCounts &counts = result->result.sites[std::size_t(i)];
  const sim::ArraySlot *slot = site.array >= 0 ? &result->program->arrays[std::size_t(site.array)] : nullptr;
  *out = {site.at.line,       site.at.column,
          int32_t(site.kind), slot ? int32_t(slot->where) : -1,
          site.chunk.c_str(), slot ? slot->name.c_str() : "",
          counts.requests,    counts.threads,
          counts.sectors,     counts.ideal,
          counts.divergent};
}

int32_t pg_sim_problems(const pg_sim_result *result) {
  return int32_t(result->result.problems.size());
}

void pg_sim_problem_of(pg_sim_problem *out, const pg_sim_result *result, int32_t i) {
  const sim::Diagnosis &d = result->result.problems[std::size_t(i)];
  const sim::Site &site = result->program->sites[std::size_t(d.site)];
  const sim::Site *other = d.other_site >= 0 ? &result->program->sites[std::size_t(d.other_site)] : nullptr;
  const sim::ArraySlot *slot = d.array >= 0 ? &result->program->arrays[std::size_t(d.array)] : nullptr;
  *out = {};
  out->problem = int32_t(d.problem);
  out->conflict = int32_t(d.conflict);
  out->line = site.at.line;
  out->column = site.at.column;
  out->chunk = site.chunk.c_str();
  out->other_line = other ? other->at.line : 0;
  out->other_chunk = other ? other->chunk.c_str() : "";
  out->kind = int32_t(site.kind);
  out->other_kind = other ? int32_t(other->kind) : 0;
  out->dimension = d.dimension;
  out->array = slot ? slot->name.c_str() : "";
  out->ndim = slot ? slot->ndim : 0;
  out->dtype = slot ? slot->dtype : 0;
  out->space = slot ? int32_t(slot->where) : -1;
  out->thread = d.thread;
  out->other_thread = d.other_thread;
  std::copy_n(d.index.begin(), 8, out->index);
  out->length = d.length;
  out->count = d.count;
  out->value = d.value;
}

void pg_sim_touched(int64_t *out, const pg_sim_result *result, int32_t parameter) {
  std::fill_n(out, 4, 0);
  for (const sim::Touched &t : result->result.touched)
    if (t.parameter == parameter) {
      out[0] = t.read_first;
      out[1] = t.read_last;
      out[2] = t.write_first;
      out[3] = t.write_last;
    }
}

int32_t pg_sim_maps(const pg_sim_result *result) {
  return int32_t(result->result.maps.size());
}

void pg_sim_map_of(pg_sim_map *out, const pg_sim_result *result, int32_t i) {
  const sim::Map &map = result->result.maps[std::size_t(i)];
  const sim::ArraySlot &slot = result->program->arrays[std::size_t(map.array)];
  *out = {slot.name.c_str(), slot.ndim, map.rows, map.columns, map.writers.data(), map.readers.data()};
}
