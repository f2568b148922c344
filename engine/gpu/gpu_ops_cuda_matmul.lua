-- Matrix products of device arrays on a GPU.
local core, shared = ...
local ffi = core.ffi
local fail, check = core.fail, core.check
local library, array, kit = shared.library, shared.array, shared.kit
local ops, cuda = shared.cuda_ops, shared.cuda()
local shape_list, make, c_names = ops.kit.shape_list, ops.kit.make, ops.kit.c_names
local dtype_names, kinds = kit.dtype_names, kit.kinds
local tonumber, ipairs, format, max, min, ceil, unpack = tonumber, ipairs, string.format, math.max, math.min, math.ceil, unpack

local integer_product

local function as_matrices(a, dtype)
  return a._a._dtype == dtype and a or ops.astype(shared.device_of(a), a, dtype)
end

-- A matrix (or a batch of them) one of whose last two axes has no gaps, and which cuBLAS takes.
local function usable(a)
  local n = a._a._ndim
  local rows, columns = tonumber(a._a._shape[n - 2]), tonumber(a._a._shape[n - 1])
  local rs, cs = tonumber(a._a._strides[n - 2]), tonumber(a._a._strides[n - 1])
  local fine = (cs == 1 or columns == 1) and rs >= max(columns, 1) or (rs == 1 or rows == 1) and cs >= max(rows, 1)
  return fine and a or a:copy()
end

-- Of integers, which cuBLAS does not multiply, and of booleans (whether any product is true): tiles in shared memory.
local integer_text = [[
typedef long long int64;
typedef unsigned long long Sum; // wraps at 2^64, of which narrower integers keep the low bits
struct Strides { int64 batch, row, column; };

extern "C" __global__ void matmul(const %s *a, const Strides p, const %s *b, const Strides q, %s *c, const int64 m,
                                  const int64 n, const int64 k, const int64 first_batch) {
  __shared__ Sum s[16][16], t[16][16];
  const int tx = threadIdx.x %% 16, ty = threadIdx.x / 16;
  const int64 j = blockIdx.x * int64(16) + tx, i = blockIdx.y * int64(16) + ty, batch = first_batch + blockIdx.z;
  Sum sum = 0;
  for (int64 l = 0; l < k; l += 16) {
    s[ty][tx] = i < m && l + tx < k ? Sum(a[batch * p.batch + i * p.row + (l + tx) * p.column]) : 0;
    t[ty][tx] = l + ty < k && j < n ? Sum(b[batch * q.batch + (l + ty) * q.row + j * q.column]) : 0;
    __syncthreads();
    for (int x = 0; x < 16; ++x)
      sum += s[ty][x] * t[x][tx];
    __syncthreads();
  }
  if (i < m && j < n)
    c[(batch * m + i) * n + j] = (%s)%s;
}
]]

local most_planes = 65535 -- along y and z of a grid

function integer_product(d, dtype, batch, m, n, k, x, x_strides, y, y_strides, result)
  local name = c_names[dtype]
  local text = format(integer_text, name, name, name, name, dtype == 0 and "(sum != 0)" or "sum")
  if ceil(m / 16) > most_planes then
    core.unsupported("matmul of %s arrays of more than %d rows on a GPU", dtype_names[dtype], most_planes * 16)
  end
  local f = ops.function_of(d, text, "matmul")
  for first = 0, batch - 1, most_planes do
    local p = { ffi.new("void *[1]", x._a._data), x_strides, ffi.new("void *[1]", y._a._data), y_strides,
      ffi.new("void *[1]", result._a._data), ffi.new("int64_t[1]", m), ffi.new("int64_t[1]", n), ffi.new("int64_t[1]", k),
      ffi.new("int64_t[1]", first) }
    local pointers = ffi.new("void *[9]")
    for i = 1, 9 do
      pointers[i - 1] = p[i]
    end
    cuda.launch("matmul", f, { grid = { ceil(n / 16), ceil(m / 16), min(batch - first, most_planes) }, block = { 256, 1, 1 },
      shared = 0 }, pointers)
  end
end

function ops.matmul(d, a, b, out)
  if a._a._ndim == 0 or b._a._ndim == 0 then
    fail("matmul: arrays of one dimension or more are expected; multiply by a number with d * x")
  end
  local dtype = kit.dtypes[array.result_type(dtype_names[a._a._dtype], dtype_names[b._a._dtype])]
  local row, column = a._a._ndim == 1, b._a._ndim == 1
  local x = as_matrices(row and a:expand_dims(1) or a, dtype)
  local y = as_matrices(column and b:expand_dims(2) or b, dtype)
  local xn, yn = x._a._ndim, y._a._ndim
  local m, k, k2, n = x:dim(-2), x:dim(-1), y:dim(-2), y:dim(-1)
  if k ~= k2 then
    fail("matmul: the first array has %d columns and the second %d rows (shapes %s and %s)", k, k2,
      kit.shape_text(a._a._shape, a._a._ndim), kit.shape_text(b._a._shape, b._a._ndim))
  end
  -- Axes before the last two: one batch, for which broadcast operands are repeated.
  local outer_x, outer_y = shape_list(x._a), shape_list(y._a)
  for _ = 1, 2 do
    outer_x[#outer_x], outer_y[#outer_y] = nil, nil
  end
  local batch_shape = {}
  for i = 1, max(#outer_x, #outer_y) do
    local p, q = outer_x[#outer_x + 1 - i] or 1, outer_y[#outer_y + 1 - i] or 1
    if p ~= q and p ~= 1 and q ~= 1 then
      fail("matmul: the batches of shapes %s and %s do not broadcast", kit.shape_text(a._a._shape, a._a._ndim),
        kit.shape_text(b._a._shape, b._a._ndim))
    end
    table.insert(batch_shape, 1, max(p, q) == 0 and 0 or (p == 1 and q or p))
  end
  local batch = 1
  for _, length in ipairs(batch_shape) do
    batch = batch * length
  end
  local shape = { unpack(batch_shape) }
  shape[#shape + 1], shape[#shape + 2] = m, n
  local function prepare(z, zn)
    if zn == 2 then
      return usable(z), 0
    end
    local full = { unpack(batch_shape) }
    full[#full + 1], full[#full + 2] = z:dim(-2), z:dim(-1)
    z = usable(z:broadcast_to(full):reshape(batch, z:dim(-2), z:dim(-1)))
    return z, tonumber(z._a._strides[0])
  end
  local result = make(d, dtype, shape)
  if result._a._size > 0 and k == 0 then
    result:fill(0)
  elseif result._a._size > 0 then
    local x_batch, y_batch
    x, x_batch = prepare(x, xn)
    y, y_batch = prepare(y, yn)
    local function strides(z, first)
      local zn = z._a._ndim
      return ffi.new("int64_t[3]", first, z._a._strides[zn - 2], z._a._strides[zn - 1])
    end
    if kinds[dtype] ~= "f" and kinds[dtype] ~= "c" then
      integer_product(d, dtype, batch, m, n, k, x, strides(x, x_batch), y, strides(y, y_batch), result)
    else
      check(library.pg_gpu_gemm(d.handle, dtype, ffi.new("int64_t[4]", batch, m, n, k), x._a._data, strides(x, x_batch),
        y._a._data, strides(y, y_batch), result._a._data, ffi.new("int64_t[3]", m * n, n, 1), nil))
    end
  end
  if row or column then
    local kept = {}
    for i, length in ipairs(shape) do
      if not (row and i == #shape - 1) and not (column and i == #shape) then
        kept[#kept + 1] = length
      end
    end
    if #kept == 0 and not out then
      return result:item()
    end
    result = result:reshape(kept)
  end
  if out then
    return out:copy_from(result)
  end
  return result
end
