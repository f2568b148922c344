// Between the fake driver and the code that the fake compiler makes: what a thread of a grid can ask for.
#pragma once

struct FakeSize {
  unsigned x, y, z;
};

struct FakeRuntime {
  FakeSize thread, block, block_dim, grid_dim;
  void (*sync)();                                        // of the block
  unsigned long long (*exchange)(unsigned long long value, int lane); // value of a lane (from 0) of the warp; -1: of none
  unsigned (*ballot)(int predicate);
  void *dynamic_shared;
  unsigned dynamic_bytes;
};

struct FakeKernel {
  void *(*copy)(void **arguments); // what a launch keeps of its arguments
  void (*run)(void *copied);
  void (*drop)(void *copied);
};
