// A launch on the checked simulator: memory laid out, blocks handed to the engine's threads, what they found put
// together.
#include "core/status.hpp"
#include "core/threads.hpp"
#include "gpu/sim_warp.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <unistd.h>

namespace perigee::sim {

using kernel::Gpu;
using kernel::Type;

namespace {

constexpr std::int64_t serial_threads = 1 << 16; // launches this small run on one thread: what they find has one order
constexpr std::int64_t most_pieces = 64;

std::int64_t element_bytes(std::int32_t dtype) {
  static constexpr std::int64_t bytes[] = {1, 1, 4, 8, 4, 8, 1, 2, 2, 4, 8, 8, 16}; // in the order of pg_dtype
  return bytes[dtype];
}

// What is kept about memory counts as memory, for as long as the launch runs.
class Reserved {
 public:
  explicit Reserved(std::int64_t bytes) : bytes_(bytes), owner_(pg_memory_owner()) {
    const std::string what = "the checked simulator keeps " + std::to_string(bytes >> 20) +
                             " MiB about the arrays of this launch (" + std::to_string(sizeof(Cell)) +
                             " bytes an element, " + std::to_string(sizeof(Cell) + sizeof(Access)) +
                             " where atomics are used): ";
    const char *instead = ". Take smaller arrays, or gpu.mode(\"fast\"), which keeps nothing";
    const std::int64_t machine = std::int64_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    if (machine > 0 && bytes > machine)
      throw UnsupportedError(what + "this machine has " + std::to_string(machine >> 20) + " MiB of memory" + instead);
    std::int32_t ignored = 0; // it is given back before anybody could collect
    if (pg_memory_reserve(bytes, &ignored) != PG_OK)
      throw MemoryError(what + pg_last_message() + instead);
  }
  ~Reserved() { pg_memory_release(bytes_, owner_); }
  Reserved(const Reserved &) = delete;

 private:
  const std::int64_t bytes_, owner_;
};

struct Extent {
  const char *low, *high;
  std::size_t slot;
};

std::int64_t cells_of(const Region &region) {
  return (region.high - region.low) / region.granule + 1;
}
std::int64_t sectors_of(const Region &region) {
  return (region.high - region.low) / 32 + 3;
}

// Where the arrays lie, and one region for those that overlap.
void lay_out(Grid &grid, void *const *arguments) {
  const Program &program = grid.program;
  std::vector<Extent> extents;
  grid.places.resize(program.arrays.size());
  for (std::size_t k = 0; k < program.arrays.size(); ++k) {
    const ArraySlot &slot = program.arrays[k];
    Place &place = grid.places[k];
    place.bytes = std::int32_t(element_bytes(slot.dtype));
    if (slot.where == ArraySlot::Where::global) {
      const pg_array &a = *static_cast<const pg_array *>(arguments[slot.parameter]);
      place.data = static_cast<char *>(a._data);
      const char *low = place.data, *high = place.data + place.bytes;
      bool none = false;
      for (int d = 0; d < slot.ndim; ++d) {
        place.shape[d] = a._shape[d];
        place.strides[d] = a._strides[d];
        none |= a._shape[d] == 0;
        const std::int64_t reach = (a._shape[d] - 1) * a._strides[d] * place.bytes;
        (reach < 0 ? low : high) += reach;
      }
      if (none)
        low = high = place.data;
      extents.push_back({low, high, k});
      continue;
    }
    std::int64_t stride = 1;
    for (int d = slot.ndim - 1; d >= 0; --d) {
      place.shape[d] = slot.lengths[std::size_t(d)];
      if (std::int32_t(k) == program.launch_array)
        place.shape[d] = grid.launch.shared_bytes / place.bytes;
      place.strides[d] = stride;
      stride *= place.shape[d];
    }
  }
  std::sort(extents.begin(), extents.end(), [](const Extent &a, const Extent &b) { return a.low < b.low; });
  std::int64_t device = 256;
  for (std::size_t i = 0; i < extents.size();) {
    auto region = std::make_unique<Region>();
    region->low = extents[i].low;
    region->high = extents[i].high;
    std::size_t end = i;
    for (; end < extents.size() && (end == i || extents[end].low < region->high); ++end) {
      region->high = std::max(region->high, extents[end].high);
      region->granule = std::min<std::int64_t>(region->granule, grid.places[extents[end].slot].bytes);
    }
    const ArraySlot &first = program.arrays[extents[i].slot];
    const pg_array &a = *static_cast<const pg_array *>(arguments[first.parameter]);
    const std::int64_t shift =
        a._block && a._block->memory ? (region->low - static_cast<const char *>(a._block->memory)) % 256 : 0;
    region->device = device + std::max<std::int64_t>(shift, 0);
    const std::int64_t bytes = region->high - region->low;
    device += (shift + bytes + 511) / 256 * 256;
    for (; i < end; ++i) {
      Place &place = grid.places[extents[i].slot];
      place.region = region.get();
      place.device = region->device + (place.data - region->low);
    }
    grid.regions.push_back(std::move(region));
  }
}

// What is kept of each region, once its memory is reserved.
std::int64_t bytes_kept(const Grid &grid) {
  for (const Site &site : grid.program.sites)
    if (site.kind == Site::Kind::atomic && grid.places[std::size_t(site.array)].region)
      grid.places[std::size_t(site.array)].region->has_atomics = true;
  std::int64_t bytes = 0;
  for (const auto &region : grid.regions)
    bytes += cells_of(*region) * std::int64_t(sizeof(Cell) + (region->has_atomics ? sizeof(Access) : 0)) +
             sectors_of(*region) / 4;
  return bytes;
}
void keep(Grid &grid) {
  for (const auto &region : grid.regions) {
    const std::size_t cells = std::size_t(cells_of(*region)), words = std::size_t(sectors_of(*region) / 64 + 1);
    region->cells = zeroed<Cell>(cells);
    if (region->has_atomics)
      region->atomics = zeroed<Access>(cells);
    region->read = zeroed<std::uint64_t>(words);
    region->written = zeroed<std::uint64_t>(words);
    if (grid.parallel)
      region->locks = zeroed<std::atomic<std::uint8_t>>(cells / std::size_t(Region::stripe) + 1);
  }
}

void fill_uniforms(Grid &grid, void *const *arguments) {
  const Program &program = grid.program;
  grid.uniforms.resize(program.uniforms.size());
  for (std::size_t u = 0; u < program.uniforms.size(); ++u) {
    const Uniform &uniform = program.uniforms[u];
    Register &r = grid.uniforms[u];
    std::memset(static_cast<void *>(&r), 0, sizeof r);
    auto whole = [&](std::int64_t v) { std::fill_n(r.i, lanes, v); };
    auto real = [&](double v) { std::fill_n(r.d, lanes, v); };
    const auto d = std::size_t(uniform.integer);
    switch (uniform.what) {
    case Uniform::What::integer:
      whole(uniform.integer);
      break;
    case Uniform::What::real:
      real(uniform.number);
      break;
    case Uniform::What::single:
      std::fill_n(r.f, lanes, float(uniform.number));
      break;
    case Uniform::What::boolean:
      r.m = uniform.integer ? ~0u : 0u;
      break;
    case Uniform::What::imaginary:
      real(static_cast<const double *>(arguments[d])[1]);
      break;
    case Uniform::What::length:
      whole(grid.places[d].shape[uniform.dimension]);
      break;
    case Uniform::What::argument:
      switch (uniform.type) {
      case Type::boolean:
        r.m = *static_cast<const std::int32_t *>(arguments[d]) ? ~0u : 0u;
        break;
      case Type::int64:
        whole(*static_cast<const std::int64_t *>(arguments[d]));
        break;
      case Type::float32:
        std::fill_n(r.f, lanes, float(*static_cast<const double *>(arguments[d])));
        break;
      default:
        real(*static_cast<const double *>(arguments[d]));
      }
      break;
    case Uniform::What::place:
      switch (uniform.gpu) {
      case Gpu::block_dim:
        whole(grid.launch.block[d]);
        break;
      case Gpu::grid_dim:
        whole(grid.launch.grid[d]);
        break;
      case Gpu::grid_size:
        whole(grid.launch.grid[d] * grid.launch.block[d]);
        break;
      case Gpu::warp_size:
        whole(lanes);
        break;
      default: // blockIdx: each block its own
        break;
      }
      break;
    }
  }
}

// Whether thread `t` of the launch (from 0) is the last along an axis of the grid that has several.
bool last_of_axis(const Launch &launch, std::int64_t t) {
  const std::int64_t size = std::int64_t(launch.block[0]) * launch.block[1] * launch.block[2];
  const std::int64_t block = t / size, in = t % size;
  const std::int64_t blocks[3] = {block % launch.grid[0], block / launch.grid[0] % launch.grid[1],
                                  block / launch.grid[0] / launch.grid[1]};
  const std::int64_t threads[3] = {in % launch.block[0], in / launch.block[0] % launch.block[1],
                                   in / launch.block[0] / launch.block[1]};
  for (int d = 0; d < 3; ++d) {
    const std::int64_t extent = launch.grid[d] * launch.block[d];
    if (extent > 1 && blocks[d] * launch.block[d] + threads[d] == extent - 1)
      return true;
  }
  return false;
}

// Who wrote an element last; where both do, atomics count.
const Access &written(const Region &region, std::int64_t cell) {
  const auto c = std::size_t(cell);
  return region.has_atomics && region.atomics[c].thread != 0 ? region.atomics[c] : region.cells[c].write;
}

// Elements that no thread wrote, where that looks like a launch too small: along an axis of the array they are more at
// its end than at its begin, and the last that was written is by the last thread along an axis of the grid.
void find_unwritten(const Grid &grid, std::size_t k, Problems &problems) {
  const ArraySlot &slot = grid.program.arrays[k];
  const Place &place = grid.places[k];
  std::int64_t size = 1;
  for (int d = 0; d < slot.ndim; ++d)
    size *= place.shape[d];
  if (size == 0 || slot.ndim == 0)
    return;
  const Region &region = *place.region;
  auto walk = [&](auto &&visit) {
    std::int64_t index[8] = {}, offset = 0;
    for (std::int64_t n = 0; n < size; ++n) {
      const std::int64_t at = place.data + offset * place.bytes - region.low;
      visit(written(region, at / region.granule), index);
      for (int d = slot.ndim - 1; d >= 0; --d) {
        offset += place.strides[d];
        if (++index[d] < place.shape[d])
          break;
        offset -= place.strides[d] * place.shape[d];
        index[d] = 0;
      }
    }
  };
  std::int64_t unwritten = 0, low[8], high[8];
  std::fill_n(low, 8, INT64_MAX);
  std::fill_n(high, 8, -1);
  walk([&](const Access &write, const std::int64_t *index) {
    if (write.thread == 0) {
      ++unwritten;
      return;
    }
    for (int d = 0; d < slot.ndim; ++d) {
      low[d] = std::min(low[d], index[d]);
      high[d] = std::max(high[d], index[d]);
    }
  });
  if (unwritten == 0 || unwritten == size)
    return;
  for (int d = 0; d < slot.ndim; ++d) {
    if (place.shape[d] - 1 - high[d] <= low[d] || low[d] == high[d]) // (one alone is some result)
      continue;
    const Access *by = nullptr;
    walk([&](const Access &write, const std::int64_t *index) {
      if (!by && index[d] == high[d] && write.thread != 0 && last_of_axis(grid.launch, std::int64_t(write.thread) - 1))
        by = &write;
    });
    if (!by)
      continue;
    Diagnosis found;
    found.problem = Problem::never_written;
    found.site = by->site;
    found.thread = std::int64_t(by->thread) - 1;
    found.array = std::int32_t(k);
    found.dimension = d + 1;
    found.index[0] = high[d] + 2;
    found.length = place.shape[d];
    found.count = unwritten;
    problems.add(found);
    return;
  }
}

constexpr std::int64_t most_columns = 64, most_rows = 64, most_alone = 1024; // of a map; of one of one dimension

Map map_of(const Grid &grid, std::size_t k) {
  const ArraySlot &slot = grid.program.arrays[k];
  const Place &place = grid.places[k];
  Map map;
  map.array = std::int32_t(k);
  if (slot.ndim == 0)
    return map;
  const int last = slot.ndim - 1;
  map.columns = std::int32_t(std::min(place.shape[last], slot.ndim == 1 ? most_alone : most_columns));
  map.rows = slot.ndim == 1 ? 1 : std::int32_t(std::min(place.shape[last - 1], most_rows));
  for (int d = 0; d < slot.ndim; ++d)
    if (place.shape[d] == 0)
      map.rows = 0;
  for (std::int64_t r = 0; r < map.rows; ++r)
    for (std::int64_t c = 0; c < map.columns; ++c) {
      const std::int64_t offset = (slot.ndim > 1 ? r * place.strides[last - 1] : 0) + c * place.strides[last];
      const std::int64_t at = place.data + offset * place.bytes - place.region->low;
      const std::int64_t cell = at / place.region->granule;
      map.writers.push_back(written(*place.region, cell).thread);
      map.readers.push_back(place.region->cells[std::size_t(cell)].read.thread);
    }
  return map;
}

// Sectors that two neighbours share count for neither: what two streams do there is no race for that alone.
Touched touched_of(const Grid &grid, std::size_t k) {
  const ArraySlot &slot = grid.program.arrays[k];
  const Place &place = grid.places[k];
  Touched out;
  out.parameter = slot.parameter;
  std::int64_t low = 0, high = place.bytes;
  for (int d = 0; d < slot.ndim; ++d) {
    if (place.shape[d] == 0)
      return out;
    const std::int64_t reach = (place.shape[d] - 1) * place.strides[d] * place.bytes;
    (reach < 0 ? low : high) += reach;
  }
  const std::int64_t first = place.region->device >> 5; // the region's first sector
  const auto bounds = [&](const Zeroed<std::uint64_t> &bits, std::int64_t &from, std::int64_t &to) {
    const std::int64_t begin = ((place.device + low) >> 5) - first, end = ((place.device + high - 1) >> 5) - first;
    std::int64_t least = -1, most = -1;
    for (std::int64_t i = begin; i <= end; ++i)
      if (bits[std::size_t(i / 64)] >> (i % 64) & 1) {
        least = least < 0 ? i : least;
        most = i;
      }
    if (least < 0)
      return;
    from = least == begin ? low : (least + first) * 32 - place.device + 31;
    to = most == end ? high : (most + 1 + first) * 32 - place.device - 31;
    to = std::max(from + 1, to);
  };
  bounds(place.region->read, out.read_first, out.read_last);
  bounds(place.region->written, out.write_first, out.write_last);
  return out;
}

void add(Counts &to, const Counts &from) {
  constexpr std::size_t words = sizeof(Counts) / sizeof(std::uint64_t);
  std::uint64_t a[words], b[words];
  std::memcpy(a, &to, sizeof a);
  std::memcpy(b, &from, sizeof b);
  for (std::size_t i = 0; i < words; ++i)
    a[i] += b[i];
  std::memcpy(&to, a, sizeof a);
}

// How bad: what makes others follow comes first.
int rank(Problem p) {
  switch (p) {
  case Problem::never_written:
    return 2;
  case Problem::race_global:
  case Problem::race_shared:
    return 1;
  default:
    return 0;
  }
}

} // namespace

Result run(const Program &program, const Launch &launch, void *const *arguments) {
  Grid grid{program, launch, {}, {}, {}, {}};
  grid.blocks = launch.grid[0] * launch.grid[1] * launch.grid[2];
  grid.block_size = std::int64_t(launch.block[0]) * launch.block[1] * launch.block[2];
  grid.warps = std::int32_t((grid.block_size + lanes - 1) / lanes);
  const std::int64_t threads = grid.blocks * grid.block_size;
  if (threads >= INT32_MAX)
    throw UnsupportedError("the simulator runs launches of at most 2147483646 threads, and this one has " +
                           std::to_string(threads));
  grid.parallel = threads > serial_threads && core::thread_count() > 1;
  grid.fenced = zeroed<std::atomic<std::uint8_t>>(std::size_t(program.fences ? grid.blocks : 1));
  lay_out(grid, arguments);
  const Reserved reserved(bytes_kept(grid));
  keep(grid);
  fill_uniforms(grid, arguments);

  Result result;
  result.threads = threads;
  result.blocks = grid.blocks;
  result.warps = grid.blocks * grid.warps;
  result.sites.resize(program.sites.size());
  Problems problems;
  std::mutex mutex;
  struct Part {
    std::int64_t at;
    Counts counts;
    std::vector<SiteCounts> sites;
    std::vector<Diagnosis> problems;
  };
  std::vector<Part> parts;
  auto work = [&](std::int64_t begin, std::int64_t end) {
    Worker worker(grid);
    for (std::int64_t block = begin; block < end && !grid.stop.load(std::memory_order_relaxed); ++block)
      worker.run_block(block);
    const std::lock_guard lock(mutex);
    parts.push_back({begin, worker.counts, std::move(worker.sites), std::move(worker.problems.list)});
  };
  if (grid.parallel)
    core::parallel_ranges(grid.blocks, std::max<std::int64_t>(1, (grid.blocks + most_pieces - 1) / most_pieces), work);
  else
    work(0, grid.blocks);
  std::sort(parts.begin(), parts.end(), [](const Part &a, const Part &b) { return a.at < b.at; });
  for (const Part &part : parts) {
    add(result.counts, part.counts);
    for (std::size_t i = 0; i < part.sites.size(); ++i) {
      SiteCounts &to = result.sites[i];
      const SiteCounts &from = part.sites[i];
      to.requests += from.requests;
      to.threads += from.threads;
      to.sectors += from.sectors;
      to.ideal += from.ideal;
      to.divergent += from.divergent;
    }
    for (const Diagnosis &d : part.problems)
      problems.add(d);
  }
  for (const auto &region : grid.regions) {
    const std::size_t words = std::size_t(sectors_of(*region) / 64 + 1);
    for (std::size_t i = 0; i < words; ++i) {
      result.counts.footprint_sectors += std::uint64_t(std::popcount(region->read[i] | region->written[i]));
      result.counts.written_sectors += std::uint64_t(std::popcount(region->written[i]));
    }
  }
  for (std::size_t k = 0; k < program.arrays.size(); ++k)
    if (program.arrays[k].where == ArraySlot::Where::global) {
      result.maps.push_back(map_of(grid, k));
      result.touched.push_back(touched_of(grid, k));
    }
  if (launch.check_coverage && problems.list.empty())
    for (std::size_t k = 0; k < program.arrays.size(); ++k)
      if (program.arrays[k].where == ArraySlot::Where::global && program.arrays[k].stored)
        find_unwritten(grid, k, problems);
  // What is read before it is written, for want of a barrier, is the race.
  const std::vector<Diagnosis> all = problems.list;
  std::erase_if(problems.list, [&](const Diagnosis &d) {
    return d.problem == Problem::uninitialised && std::any_of(all.begin(), all.end(), [&](const Diagnosis &r) {
             return r.problem == Problem::race_shared && r.array == d.array &&
                    (r.site == d.site || r.other_site == d.site);
           });
  });
  result.problems = std::move(problems.list);
  std::stable_sort(result.problems.begin(), result.problems.end(), [&](const Diagnosis &a, const Diagnosis &b) {
    if (rank(a.problem) != rank(b.problem))
      return rank(a.problem) < rank(b.problem);
    const auto line = [&](const Diagnosis &d) { return program.sites[std::size_t(d.site)].at.line; };
    return line(a) < line(b);
  });
  return result;
}

} // namespace perigee::sim
