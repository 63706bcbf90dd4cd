/* tests/cuda/nccl_header.c -- what nccl_api.h declares is what nccl.h has: compared by the compiler, where that header is. */
#include <nccl.h>
#include <stdbool.h>
#include <stdio.h>

#include "compute/cuda/nccl_api.h"

#define SAME(own, theirs) _Static_assert((int)(own) == (int)(theirs), #own)
SAME(GD__NCCL_SUCCESS, ncclSuccess);
SAME(GD__NCCL_REMOTE, ncclRemoteError);
SAME(GD__NCCL_IN_PROGRESS, ncclInProgress);
SAME(GD__NCCL_SUM, ncclSum);
SAME(GD__NCCL_FLOAT, ncclFloat32);
SAME(GD__NCCL_ID, NCCL_UNIQUE_ID_BYTES);
SAME(sizeof(gd__nccl_id), sizeof(ncclUniqueId));
SAME(_Alignof(gd__nccl_id), _Alignof(ncclUniqueId));
SAME(GD__NCCL_UNDEFINED, NCCL_CONFIG_UNDEF_INT);
#define PLACE(own, theirs) SAME(offsetof(gd__nccl_config, own), offsetof(ncclConfig_t, theirs))
PLACE(size, size);
PLACE(magic, magic);
PLACE(version, version);
PLACE(blocking, blocking);
PLACE(cga_cluster_size, cgaClusterSize);
PLACE(min_ctas, minCTAs);
PLACE(max_ctas, maxCTAs);
PLACE(net_name, netName);
PLACE(split_share, splitShare);

/* Calls with our arguments reach theirs: enums, handles and pointers are passed alike. */
#define CALLS(name, ...) SAME(sizeof(name(__VA_ARGS__)), sizeof(int))
#define P                ((void *)0)
CALLS(ncclGetVersion, P);
CALLS(ncclGetUniqueId, P);
CALLS(ncclCommInitRankConfig, P, 1, (ncclUniqueId){{0}}, 0, P);
CALLS(ncclCommFinalize, P);
CALLS(ncclCommDestroy, P);
CALLS(ncclCommAbort, P);
CALLS(ncclCommGetAsyncError, P, P);
CALLS(ncclMemAlloc, P, (size_t)1);
CALLS(ncclMemFree, P);
CALLS(ncclCommRegister, P, P, (size_t)1, P);
CALLS(ncclCommDeregister, P, P);
CALLS(ncclAllReduce, P, P, (size_t)1, ncclFloat, ncclSum, P, P);
CALLS(ncclReduceScatter, P, P, (size_t)1, ncclFloat, ncclSum, P, P);
CALLS(ncclAllGather, P, P, (size_t)1, ncclFloat, P, P);
CALLS(ncclBroadcast, P, P, (size_t)1, ncclFloat, 0, P, P);
CALLS(ncclReduce, P, P, (size_t)1, ncclFloat, ncclSum, 0, P, P);
CALLS(ncclGroupStart);
CALLS(ncclGroupEnd);

int main(void) {
    const ncclConfig_t theirs = NCCL_CONFIG_INITIALIZER;
    bool same = theirs.magic == GD__NCCL_MAGIC && theirs.size >= sizeof(gd__nccl_config);
    printf("nccl.h of %d.%d.%d: %s\n", NCCL_MAJOR, NCCL_MINOR, NCCL_PATCH, same ? "the same" : "FAIL other numbers");
    return !same;
}
