/* compute/cuda/nccl_api.h -- what of NCCL is called, declared here so that no header of it is needed. Folder-internal.
 *
 * Values, sizes and places are those of nccl.h; tests/cuda/nccl_header.c compares them where that header is. */
#ifndef GANDIST_COMPUTE_CUDA_NCCL_API_H
#define GANDIST_COMPUTE_CUDA_NCCL_API_H

#include <limits.h>
#include <stddef.h>

enum {
    GD__NCCL_SUCCESS,
    GD__NCCL_REMOTE = 6,      /* another rank is gone, or the network to it */
    GD__NCCL_IN_PROGRESS = 7, /* of a communicator that does not block      */
    GD__NCCL_SUM = 0,
    GD__NCCL_FLOAT = 7,
    GD__NCCL_ID = 128,
    GD__NCCL_OLDEST = 21900 /* 2.19.0: memory of its own, registration */
};

typedef void *gd__nccl_comm;
typedef struct gd__nccl_id {
    char bytes[GD__NCCL_ID];
} gd__nccl_id;

/* The members of 2.17, which every later version reads by `size`. */
typedef struct gd__nccl_config {
    size_t size;
    unsigned magic, version;
    int blocking, cga_cluster_size, min_ctas, max_ctas;
    const char *net_name;
    int split_share;
} gd__nccl_config;
enum { GD__NCCL_UNDEFINED = INT_MIN, GD__NCCL_VERSION_OF_CONFIG = 21700 };
#define GD__NCCL_MAGIC 0xcafebeefu

#define GD__NCCL_FUNCTIONS(X)                                                                                          \
    X(int, ncclGetUniqueId, (gd__nccl_id *))                                                                           \
    X(int, ncclCommInitRankConfig, (gd__nccl_comm *, int, gd__nccl_id, int, gd__nccl_config *))                        \
    X(int, ncclCommFinalize, (gd__nccl_comm))                                                                          \
    X(int, ncclCommDestroy, (gd__nccl_comm))                                                                           \
    X(int, ncclCommAbort, (gd__nccl_comm))                                                                             \
    X(int, ncclCommGetAsyncError, (gd__nccl_comm, int *))                                                              \
    X(const char *, ncclGetErrorString, (int))                                                                         \
    X(const char *, ncclGetLastError, (gd__nccl_comm))                                                                 \
    X(int, ncclMemAlloc, (void **, size_t))                                                                            \
    X(int, ncclMemFree, (void *))                                                                                      \
    X(int, ncclCommRegister, (gd__nccl_comm, void *, size_t, void **))                                                 \
    X(int, ncclCommDeregister, (gd__nccl_comm, void *))                                                                \
    X(int, ncclAllReduce, (const void *, void *, size_t, int, int, gd__nccl_comm, void *))                             \
    X(int, ncclReduceScatter, (const void *, void *, size_t, int, int, gd__nccl_comm, void *))                         \
    X(int, ncclAllGather, (const void *, void *, size_t, int, gd__nccl_comm, void *))                                  \
    X(int, ncclBroadcast, (const void *, void *, size_t, int, int, gd__nccl_comm, void *))                             \
    X(int, ncclReduce, (const void *, void *, size_t, int, int, int, gd__nccl_comm, void *))                           \
    X(int, ncclGroupStart, (void))                                                                                     \
    X(int, ncclGroupEnd, (void))

typedef struct gd__nccl_functions {
#define GD__NCCL_MEMBER(type, name, arguments) type(*name) arguments;
    GD__NCCL_FUNCTIONS(GD__NCCL_MEMBER)
#undef GD__NCCL_MEMBER
    int (*cuStreamQuery)(void *stream), (*cuEventQuery)(void *event); /* of the driver: 0 done, 600 not yet */
} gd__nccl_functions;
enum { GD__CU_NOT_READY = 600 };

#endif
