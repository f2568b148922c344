/* The measures of ours.lua in C: each prints "name seconds", the best of many short blocks on rank 0. Two ranks. The block counts
   are the first argument's multiple. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Memory as NumPy's and Perigee's arrays have it: huge pages where the kernel gives them, and touched. With malloc's, 8 MiB
   took this program four times as long as either. */
static void *array(size_t bytes) {
  const size_t huge = (size_t)2 << 20, rounded = (bytes + huge - 1) / huge * huge;
  if (bytes < huge)
    return calloc(bytes, 1);
  void *memory = aligned_alloc(huge, rounded);
  madvise(memory, rounded, MADV_HUGEPAGE);
  memset(memory, 0, rounded);
  return memory;
}

static int rank;

static void ping_pong(char *data, int bytes, int times) {
  for (int i = 0; i < times; ++i)
    if (rank == 0) {
      MPI_Send(data, bytes, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
      MPI_Recv(data, bytes, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
      MPI_Recv(data, bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(data, bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
    }
}

/* Seconds of one message, one way. */
static void one_way(const char *name, int bytes, int times, int blocks) {
  char *data = array((size_t)bytes);
  double best = 1e9;
  ping_pong(data, bytes, times / 10 + 1);
  for (int block = 0; block < blocks; ++block) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    ping_pong(data, bytes, times);
    const double seconds = (MPI_Wtime() - start) / times / 2;
    best = seconds < best ? seconds : best;
  }
  if (rank == 0)
    printf("%s %.10g\n", name, best);
  free(data);
}

static void allreduce(int count, int times, int blocks) {
  double *in = array(sizeof(double) * (size_t)count), *out = array(sizeof(double) * (size_t)count), best = 1e9;
  for (int i = 0; i < count; ++i)
    in[i] = i;
  MPI_Allreduce(in, out, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  for (int block = 0; block < blocks; ++block) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    for (int i = 0; i < times; ++i)
      MPI_Allreduce(in, out, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    const double seconds = (MPI_Wtime() - start) / times;
    best = seconds < best ? seconds : best;
  }
  if (rank == 0)
    printf("allreduce %.10g\n", best);
  free(in);
  free(out);
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const int blocks = argc > 1 ? atoi(argv[1]) : 0; /* 0: says hello, for the time of a start */
  if (blocks > 0) {
    one_way("latency", 8, 1000, blocks);
    one_way("transfer", 8 << 20, 2, blocks);
    allreduce(1000000, 2, blocks);
  } else if (rank == 0) {
    printf("hello\n");
  }
  MPI_Finalize();
  return 0;
}
