# Tests of compute/cpu.
gandist_add_test(NAME cpu_group SOURCES unit/cpu_group.c LINK gandist::compute LABELS default compute)
gandist_add_test(NAME cpu_conv SOURCES unit/cpu_conv.c LINK gandist::compute LABELS default compute)
gandist_add_test(NAME cpu_amx SOURCES unit/cpu_amx.c LINK gandist::compute LABELS default compute)
gandist_add_test(NAME cpu_choice SOURCES unit/cpu_choice.c LINK gandist::compute LABELS default compute)
gandist_add_fuzz_test(NAME fuzz_kernels SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz/kernels.c LINK gandist::compute
  CORPUS ${CMAKE_CURRENT_LIST_DIR}/fuzz/corpus/kernels RUNS 8000)
gandist_add_test(NAME cpu_heavy SOURCES unit/cpu_heavy.c LINK gandist::compute LABELS default compute)
gandist_add_test(NAME cpu_move SOURCES unit/cpu_move.c LINK gandist::compute LABELS default compute)
gandist_add_test(NAME cpu_vmath SOURCES unit/cpu_vmath.c LINK gandist::compute LABELS default compute)
gandist_add_test(NAME bench_ops SOURCES bench/ops.c LINK gandist::compute LABELS bench TIMEOUT 600)
