# The rivals' side of the suite of files: rival.py OPERATION FOLDER THREADS COUNT, as ours.lua.
import json
import sys
import time

import numpy as np
import pandas

what, folder, _, count = sys.argv[1:]
path = folder + "/" + what


def read_json():
    with open(path) as f:
        return json.load(f)


def load():
    found = np.load(path)
    return {name: found[name] for name in found} if what.endswith("z") else found


if what == "save a.npy":
    a = np.load(folder + "/a.npy")
if what == "write records":
    with open(folder + "/records.json") as f:
        value = json.load(f)
operations = {
    "save a.npy": lambda: np.save(folder + "/theirs.npy", a),
    "a.npy": load,
    "a.npz": load,
    "records.json": read_json,
    "numbers.json": lambda: np.array(read_json()),
    "write records": lambda: json.dumps(value),
}
run = operations.get(what, lambda: pandas.read_csv(path))
cpu = wall = 1e9
for _ in range(int(count)):
    c, w = time.process_time(), time.perf_counter()
    result = run()
    cpu, wall = min(cpu, time.process_time() - c), min(wall, time.perf_counter() - w)
    del result
print(cpu, wall)
