foreach(part save faults attacks)
  gandist_add_test(NAME checkpoint_${part} SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_${part}.c LINK gandist::dist)
endforeach()
gandist_add_test(NAME checkpoint_ranks SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_ranks.c LINK gandist::dist RANKS 1 2 4)
foreach(part header manifest)
  gandist_add_fuzz_test(NAME fuzz_checkpoint_${part} SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz/checkpoint_${part}.c LINK gandist::dist
    CORPUS ${CMAKE_CURRENT_LIST_DIR}/fuzz/corpus/checkpoint_${part} RUNS 20000)
endforeach()
