# From a graph to steps and memory: passes, groups, life times, phases, instances.
foreach(name random phases holds passes costs)
  gandist_add_test(NAME program_${name} SOURCES unit/program_${name}.c unit/program_rig.c LINK gandist::compute)
endforeach()
gandist_add_test(NAME program_nomem SOURCES unit/program_nomem.c LINK gandist::compute)
if(TARGET test_program_nomem)
  target_link_options(test_program_nomem PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
    -Wl,--wrap=aligned_alloc -Wl,--wrap=posix_memalign -Wl,--wrap=free)
endif()
