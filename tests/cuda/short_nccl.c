/* tests/cuda/short_nccl.c -- a libnccl that says it is new, and has none of the functions. */
int ncclGetVersion(int *version);
int ncclGetVersion(int *version) {
    *version = 22809;
    return 0;
}
