#!/usr/bin/env python3
"""Writes the npy and npz files beside it with NumPy; tests/lua/io.lua knows what they hold.

Element i (from 0, row-major) of the arrays of shape (2, 3) is: bool i % 2 == 0; unsigned 40 * i; signed i - 3; floats
i / 4 - 0.5; complex the float x as x + (x + 1)j.
"""
import os

import numpy as np
from numpy.lib import format as npy

os.chdir(os.path.dirname(os.path.abspath(__file__)))
i = np.arange(6)
x = i / 4 - 0.5
kinds = {"b": i % 2 == 0, "u": 40 * i, "i": i - 3, "f": x, "c": x + 1j * (x + 1)}
names = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
         "complex64", "complex128"]
arrays = {}
for name in names:
    dtype = np.dtype(name)
    a = kinds[dtype.kind].astype(dtype).reshape(2, 3)
    arrays[name + "_c"] = a
    arrays[name + "_f"] = np.asfortranarray(a)
    arrays[name + "_big"] = a.astype(dtype.newbyteorder(">"))
    arrays[name + "_bigf"] = np.asfortranarray(a.astype(dtype.newbyteorder(">")))
np.savez("stored.npz", **arrays)
np.savez_compressed("deflated.npz", **arrays)
for version in [(1, 0), (2, 0), (3, 0)]:
    with open("version%d.npy" % version[0], "wb") as f:
        npy.write_array(f, arrays["float64_f"], version=version)
np.save("scalar.npy", np.float64(2.5))
np.save("empty.npy", np.zeros((3, 0, 2), "int16"))
np.save("rank8.npy", np.arange(256, dtype="uint8").reshape((2,) * 8))
np.save("rank9.npy", np.zeros((1,) * 9))
np.save("text.npy", np.array(["a", "bc"]))
np.save("half.npy", np.zeros(3, "float16"))
np.save("record.npy", np.zeros(2, [("x", "f8"), ("y", "i4")]))
