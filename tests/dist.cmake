foreach(name optimizer plan tree watch watchdog)
  gandist_add_test(NAME dist.${name} SOURCES ${CMAKE_CURRENT_LIST_DIR}/unit/dist_${name}.c LINK gandist::dist)
endforeach()
gandist_add_test(NAME dist.comm SOURCES ${CMAKE_CURRENT_LIST_DIR}/dist/dist_comm.c LINK gandist::dist MPI::MPI_C RANKS 1 2 3 4 8 LABELS default dist)
gandist_add_test(NAME dist.reduce SOURCES ${CMAKE_CURRENT_LIST_DIR}/dist/dist_reduce.c LINK gandist::dist MPI::MPI_C RANKS 1 2 3 4 6 LABELS default dist)
foreach(name train resume faults)
  gandist_add_test(NAME dist.${name} SOURCES ${CMAKE_CURRENT_LIST_DIR}/dist/${name}.c LINK gandist::dist MPI::MPI_C RANKS 1 2 3 4 TIMEOUT 300
    LABELS default dist)
endforeach()
# Their batch is 8, which goes into 1, 2 and 4 ranks.
foreach(name variants variants_resume sick skips overlap)
  gandist_add_test(NAME dist.${name} SOURCES ${CMAKE_CURRENT_LIST_DIR}/dist/${name}.c LINK gandist::dist MPI::MPI_C RANKS 1 2 4 TIMEOUT 300
    LABELS default dist)
endforeach()
gandist_add_test(NAME dist.far SOURCES dist/far.c dist/far_memory.c dist/far_feed.c LINK gandist::dist MPI::MPI_C RANKS 1 2 4 TIMEOUT 900 LABELS default dist)
gandist_add_test(NAME dist.far_slices SOURCES dist/far_slices.c dist/far_memory.c dist/far_feed.c LINK gandist::dist MPI::MPI_C RANKS 1 2 4
  TIMEOUT 900 LABELS default dist)
gandist_add_test(NAME dist.far_pools SOURCES dist/far_pools.c dist/far_memory.c dist/far_feed.c LINK gandist::dist MPI::MPI_C RANKS 1 2 4
  TIMEOUT 600 LABELS default dist)
gandist_add_test(NAME dist.far_cost SOURCES dist/far_cost.c dist/far_memory.c dist/far_feed.c LINK gandist::dist MPI::MPI_C RANKS 1 2 4
  TIMEOUT 300 LABELS default dist)
gandist_add_test(NAME dist.fed SOURCES dist/fed.c dist/far_memory.c dist/far_feed.c LINK gandist::dist MPI::MPI_C RANKS 1 2 4 TIMEOUT 600 LABELS default dist)
gandist_add_test(NAME dist.choices SOURCES dist/choices.c LINK gandist::dist MPI::MPI_C RANKS 1 2 4 LABELS default dist)
target_link_options(test_dist.skips PRIVATE LINKER:--wrap=gd_loader_next)
gandist_add_test(NAME dist.many SOURCES ${CMAKE_CURRENT_LIST_DIR}/dist/many.c LINK gandist::dist MPI::MPI_C RANKS 16 TIMEOUT 300 LABELS default dist)
foreach(name alloc cost)
  gandist_add_test(NAME dist.${name} SOURCES ${CMAKE_CURRENT_LIST_DIR}/dist/${name}.c LINK gandist::dist MPI::MPI_C RANKS 1 LABELS default dist)
endforeach()
gandist_add_test(NAME dist.zero SOURCES ${CMAKE_CURRENT_LIST_DIR}/dist/dist_zero.c LINK gandist::dist MPI::MPI_C RANKS 1 2 3 4 TIMEOUT 300
  LABELS default dist)
gandist_add_script_test(NAME cli.alone SCRIPT cli/alone.sh PROCESSORS 2)
gandist_add_script_test(NAME cli.zero SCRIPT cli/zero.sh PROCESSORS 2)
gandist_add_test(NAME dist.hangs SOURCES ${CMAKE_CURRENT_LIST_DIR}/dist/hangs.c LINK gandist::dist MPI::MPI_C RANKS 1 2 4 TIMEOUT 300 LABELS default dist)
gandist_add_script_test(NAME cli.exit_codes SCRIPT cli/exit_codes.sh PROCESSORS 2 TIMEOUT 300)
gandist_add_script_test(NAME cli.hang SCRIPT cli/hang.sh PROCESSORS 2 TIMEOUT 600)
gandist_add_script_test(NAME cli.hang_long SCRIPT cli/hang.sh PROCESSORS 2 LABELS long TIMEOUT 1200 ARGS --long)
# Faults in the memory of one rank; the linker leads calls of the trainer to the test.
gandist_add_test(NAME dist.injected SOURCES dist/injected.c LINK gandist::dist MPI::MPI_C RANKS 1 4 TIMEOUT 600 LABELS default dist)
gandist_add_test(NAME dist.injected_long SOURCES dist/injected.c LINK gandist::dist MPI::MPI_C RANKS 1 2 3 4 TIMEOUT 1800 LABELS long
  ARGS --long)
foreach(name injected injected_long)
  target_link_options(test_dist.${name} PRIVATE LINKER:--wrap=gd__watch,--wrap=gd_reducer_ready,--wrap=gd_reducer_all_ready)
endforeach()
