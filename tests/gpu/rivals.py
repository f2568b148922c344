# The benchmarks of bench.lua in CuPy, PyTorch and Triton, as far as they are installed: the same lines of JSON.
import json
import statistics


def emit(name, unit, value, note=""):
    print(json.dumps({"name": name, "unit": unit, "value": float(f"{value:.6g}"), "note": note}), flush=True)


n = 2**27
size = 4 * n
m_matrix = 4096
m_plane = 8192


def with_cupy():
    import cupy as cp

    def median(f, rounds=30):
        for _ in range(5):
            f()
        times = []
        for _ in range(rounds):
            start, stop = cp.cuda.Event(), cp.cuda.Event()
            start.record()
            f()
            stop.record()
            stop.synchronize()
            times.append(cp.cuda.get_elapsed_time(start, stop) * 1e-3)
        return statistics.median(times)

    x, y = cp.ones(n, cp.float32), cp.ones(n, cp.float32)
    emit("CuPy: device to device", "GB/s", 2 * size / median(lambda: cp.copyto(y, x)) / 1e9)
    saxpy = cp.ElementwiseKernel("float32 a, float32 x", "float32 y", "y = a * x + y", "saxpy")
    emit("CuPy: saxpy (ElementwiseKernel)", "GB/s", 3 * size / median(lambda: saxpy(1e-9, x, y)) / 1e9)
    emit("CuPy: sum", "GB/s", size / median(lambda: x.sum()) / 1e9)
    a, b = cp.random.rand(m_matrix, m_matrix, dtype=cp.float32), cp.random.rand(m_matrix, m_matrix, dtype=cp.float32)
    emit("CuPy: matmul", "TFLOP/s", 2 * m_matrix**3 / median(lambda: a @ b, 10) / 1e12)
    t = cp.random.rand(m_plane, m_plane, dtype=cp.float32)
    emit("CuPy: transpose", "GB/s", 8 * m_plane**2 / median(lambda: cp.ascontiguousarray(t.T)) / 1e9)
    raw = cp.RawKernel(r'extern "C" __global__ void tiny(float *a) { a[threadIdx.x] = 1; }', "tiny")
    z = cp.zeros(32, cp.float32)
    import time

    for _ in range(100):
        raw((1,), (32,), (z,))
    cp.cuda.runtime.deviceSynchronize()
    start = time.perf_counter()
    for _ in range(20000):
        raw((1,), (32,), (z,))
    emit("CuPy: launch", "us", (time.perf_counter() - start) / 20000 * 1e6)
    cp.cuda.runtime.deviceSynchronize()


def torch_median(torch, f, rounds=30):
    for _ in range(5):
        f()
    times = []
    for _ in range(rounds):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        f()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) * 1e-3)
    return statistics.median(times)


def with_torch():
    import torch

    if not torch.cuda.is_available():
        raise ImportError("PyTorch without CUDA")
    torch.backends.cuda.matmul.allow_tf32 = False
    x, y = torch.ones(n, device="cuda"), torch.ones(n, device="cuda")
    emit("PyTorch: device to device", "GB/s", 2 * size / torch_median(torch, lambda: y.copy_(x)) / 1e9)
    emit("PyTorch: saxpy (add_)", "GB/s", 3 * size / torch_median(torch, lambda: y.add_(x, alpha=1e-9)) / 1e9)
    emit("PyTorch: sum", "GB/s", size / torch_median(torch, lambda: x.sum()) / 1e9)
    a, b = torch.rand(m_matrix, m_matrix, device="cuda"), torch.rand(m_matrix, m_matrix, device="cuda")
    emit("PyTorch: matmul, float32", "TFLOP/s", 2 * m_matrix**3 / torch_median(torch, lambda: a @ b, 10) / 1e12)
    t = torch.rand(m_plane, m_plane, device="cuda")
    emit("PyTorch: transpose", "GB/s", 8 * m_plane**2 / torch_median(torch, lambda: t.T.contiguous()) / 1e9)


def with_triton():
    import torch
    import triton
    import triton.language as tl

    @triton.jit
    def saxpy(a, x, y, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = at < n
        tl.store(y + at, a * tl.load(x + at, inside) + tl.load(y + at, inside), inside)

    x, y = torch.ones(n, device="cuda"), torch.ones(n, device="cuda")
    run = lambda: saxpy[(triton.cdiv(n, 1024),)](1e-9, x, y, n, BLOCK=1024)
    emit("Triton: saxpy", "GB/s", 3 * size / torch_median(torch, run) / 1e9)


for name, rival in (("CuPy", with_cupy), ("PyTorch", with_torch), ("Triton", with_triton)):
    try:
        rival()
    except ImportError as missing:
        import sys

        print(f"{name}: not installed ({missing})", file=sys.stderr)
    except Exception as wrong:  # one rival's failure leaves the others
        import sys

        print(f"{name}: {wrong}", file=sys.stderr)
