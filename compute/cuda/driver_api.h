/* compute/cuda/driver_api.h -- the functions of CUDA's driver that driver.c calls, and its state. Folder-internal. */
#ifndef GANDIST_COMPUTE_CUDA_DRIVER_API_H
#define GANDIST_COMPUTE_CUDA_DRIVER_API_H

#include <cuda.h>

#include "compute/cuda/driver.h"
#include "compute/cuda/nvrtc.h"

/* Names with their versions, as the library exports them. */
#define GD__CU_FUNCTIONS(X)                                                                         \
    X(cuInit) X(cuDriverGetVersion) X(cuGetErrorName) X(cuGetErrorString) X(cuDeviceGetCount)       \
    X(cuDeviceGet) X(cuDeviceGetName) X(cuDeviceGetAttribute) X(cuDeviceGetPCIBusId)                \
    X(cuDevicePrimaryCtxRetain)                                                                     \
    X(cuDevicePrimaryCtxRelease_v2) X(cuCtxSetCurrent) X(cuCtxGetStreamPriorityRange)               \
    X(cuMemGetInfo_v2) X(cuMemAlloc_v2) X(cuMemFree_v2) X(cuMemHostAlloc) X(cuMemFreeHost)          \
    X(cuMemcpyAsync) X(cuStreamCreateWithPriority) X(cuStreamDestroy_v2) X(cuStreamSynchronize)     \
    X(cuStreamWaitEvent) X(cuStreamBeginCapture_v2) X(cuStreamEndCapture) X(cuEventCreate)          \
    X(cuEventDestroy_v2) X(cuEventRecord) X(cuEventSynchronize) X(cuEventQuery) X(cuModuleLoadData) \
    X(cuModuleUnload) X(cuModuleGetFunction) X(cuLaunchKernel) X(cuGraphInstantiateWithFlags)       \
    X(cuGraphDestroy) X(cuGraphLaunch) X(cuGraphExecDestroy)

typedef struct gd__cu_api {
#define GD__CU_MEMBER(f) __typeof__(f) *f;
    GD__CU_FUNCTIONS(GD__CU_MEMBER)
#undef GD__CU_MEMBER
} gd__cu_api;

/* Calls f of the table `api`; a failure becomes a status with the function's name and CUDA's words for the code. */
#define GD__CU_CALL(api, f, ...) gd__cu_check((api), #f, (api)->f(__VA_ARGS__), __FILE__, __LINE__)
GD_CHECKED gd_status gd__cu_check(const gd__cu_api *api, const char *function, CUresult r, const char *file, int line);

#endif
