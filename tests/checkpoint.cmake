foreach(part save faults attacks)
  gandist_add_test(NAME checkpoint_${part} SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_${part}.c LINK gandist::dist)
endforeach()
gandist_add_test(NAME checkpoint_faults_long SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_faults.c LINK gandist::dist LABELS long
  TIMEOUT 1800 ARGS --long)
gandist_add_test(NAME checkpoint_ranks SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_ranks.c LINK gandist::dist RANKS 1 2 4)
gandist_add_test(NAME checkpoint_writer SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_writer.c LINK gandist::dist RANKS 1 2 4)
gandist_add_test(NAME checkpoint_lock SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/lock.c LINK gandist::dist)
foreach(part header manifest)
  gandist_add_fuzz_test(NAME fuzz_checkpoint_${part} SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz/checkpoint_${part}.c LINK gandist::dist
    CORPUS ${CMAKE_CURRENT_LIST_DIR}/fuzz/corpus/checkpoint_${part} RUNS 150000)
endforeach()
# In memory: every state after a power cut, every point of the commit, every damage.
foreach(part powercut killpoints damage)
  gandist_add_test(NAME checkpoint_${part} SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_${part}.c LINK gandist::dist)
endforeach()
gandist_add_test(NAME checkpoint_damage_long SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_damage.c LINK gandist::dist LABELS long
  TIMEOUT 3600 ARGS --long)
gandist_add_test(NAME checkpoint_memory SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_memory.c LINK gandist::dist)
target_link_options(test_checkpoint_memory PRIVATE
  LINKER:--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=strdup,--wrap=asprintf,--wrap=XXH3_createState)
gandist_add_test(NAME checkpoint_golden SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_golden.c LINK gandist::dist gandist::jansson)
# The thread that writes and the one that trains, and those that renew and contend for a lock, without MPI and OpenMP,
# which the thread sanitizer does not know.
if(NOT GANDIST_SANITIZE)
  file(GLOB tsan_sources ${PROJECT_SOURCE_DIR}/base/*.c ${PROJECT_SOURCE_DIR}/dist/checkpoint*.c)
  foreach(part manifest safetensors json writer lock starts tree comm comm_self pulse)
    list(APPEND tsan_sources ${PROJECT_SOURCE_DIR}/dist/${part}.c)
  endforeach()
  add_library(checkpoint_tsan OBJECT ${tsan_sources} ${PROJECT_SOURCE_DIR}/compute/shape.c)
  target_include_directories(checkpoint_tsan PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(checkpoint_tsan PUBLIC CHECKPOINT_ALONE)
  target_compile_options(checkpoint_tsan PUBLIC -fsanitize=thread -O1 -g -Wno-unknown-pragmas)
  target_link_options(checkpoint_tsan PUBLIC -fsanitize=thread)
  target_link_libraries(checkpoint_tsan PUBLIC gandist::options gandist::jansson gandist::xxhash Threads::Threads m)
  gandist_add_test(NAME checkpoint_threads SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_writer.c LINK checkpoint_tsan)
  gandist_add_test(NAME checkpoint_threads_lock SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/lock.c LINK checkpoint_tsan)
endif()
gandist_add_test(NAME checkpoint_registry SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_registry.c LINK gandist::dist MPI::MPI_C
  RANKS 1 2)
gandist_add_script_test(NAME cli.checkpoints SCRIPT cli/checkpoints.sh PROCESSORS 2)
gandist_add_script_test(NAME cli.reshard SCRIPT cli/reshard.sh PROCESSORS 2)
gandist_add_script_test(NAME cli.reshard_long SCRIPT cli/reshard.sh PROCESSORS 2 LABELS long TIMEOUT 1200 ARGS --long)
gandist_add_test(NAME checkpoint_speed SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_speed.c LINK gandist::dist LABELS bench)
gandist_add_script_test(NAME cli.kill_ranks SCRIPT cli/kill_ranks.sh PROCESSORS 2)
gandist_add_script_test(NAME cli.kill_ranks_long SCRIPT cli/kill_ranks.sh PROCESSORS 2 LABELS long TIMEOUT 3600 ARGS --long)
gandist_add_test(NAME checkpoint_powercut_long SOURCES ${CMAKE_CURRENT_LIST_DIR}/fault/checkpoint_powercut.c LINK gandist::dist LABELS long
  TIMEOUT 3600 ARGS --long)
