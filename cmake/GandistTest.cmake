# gandist_add_test(NAME name SOURCES a.c ... LINK gandist::x ... [RANKS 1 2 4] [LABELS l ...] [TIMEOUT s] [ARGS ...])
#
# One executable, one CTest entry per world size (none given: run directly, without mpirun). A test
# that exits with 77 is shown as skipped. Every test runs with its own scratch folder in
# GANDIST_TEST_TMP, the source tree in GANDIST_SOURCE_DIR, and the program under test in GANDIST_BIN. Ranks compare their
# collectives (GANDIST_CHECK).
include_guard()

function(gandist_add_test)
  cmake_parse_arguments(T "" "NAME;TIMEOUT" "SOURCES;LINK;RANKS;LABELS;ARGS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  if(NOT T_LABELS)
    set(T_LABELS default)
  endif()
  set(exe test_${T_NAME})
  add_executable(${exe} ${T_SOURCES})
  target_link_libraries(${exe} PRIVATE gandist::options ${T_LINK} cmocka m)
  target_include_directories(${exe} PRIVATE ${PROJECT_SOURCE_DIR})
  if(T_RANKS)
    foreach(n IN LISTS T_RANKS)
      gandist__register(${T_NAME}.np${n} ${n} "${MPIEXEC_EXECUTABLE};--oversubscribe;--allow-run-as-root;-np;${n};$<TARGET_FILE:${exe}>;${T_ARGS}")
      gandist__forgive_mpi(${T_NAME}.np${n})
    endforeach()
  else()
    gandist__register(${T_NAME} 1 "$<TARGET_FILE:${exe}>;${T_ARGS}")
  endif()
endfunction()

# gandist_add_fuzz_test(NAME name SOURCES target.c ... LINK gandist::x ... CORPUS folder [RUNS n] [TIMEOUT s]): a fuzz target
# (LLVMFuzzerTestOneInput) with tests/fuzz/driver.c: the seed inputs of CORPUS and n (2000) seeded mutations of them. In the long
# suite, as NAME_long, 20 seconds of them (GANDIST_FUZZ_SECONDS).
function(gandist_add_fuzz_test)
  cmake_parse_arguments(T "" "NAME;CORPUS;RUNS;TIMEOUT" "SOURCES;LINK" ${ARGN})
  if(NOT T_RUNS)
    set(T_RUNS 2000)
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  get_filename_component(corpus ${T_CORPUS} ABSOLUTE)
  gandist_add_test(NAME ${T_NAME} SOURCES ${PROJECT_SOURCE_DIR}/tests/fuzz/driver.c ${T_SOURCES} LINK ${T_LINK}
    LABELS default fuzz TIMEOUT ${T_TIMEOUT} ARGS --runs ${T_RUNS} --seed 1 ${corpus})
  set(T_LABELS long fuzz)
  set(T_TIMEOUT 7200)
  gandist__register(${T_NAME}_long 1 "$<TARGET_FILE:test_${T_NAME}>;--seconds;20;--seed;2;${corpus}")
endfunction()

# gandist_add_script_test(NAME name SCRIPT file [PROCESSORS n] [LABELS ...] [TIMEOUT s] [ARGS ...]): a bash script, same environment.
function(gandist_add_script_test)
  cmake_parse_arguments(T "" "NAME;SCRIPT;TIMEOUT;PROCESSORS" "LABELS;ARGS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 300)
  endif()
  if(NOT T_LABELS)
    set(T_LABELS default)
  endif()
  if(NOT T_PROCESSORS)
    set(T_PROCESSORS 1)
  endif()
  gandist__register(${T_NAME} ${T_PROCESSORS} "bash;${CMAKE_CURRENT_SOURCE_DIR}/${T_SCRIPT};${T_ARGS}")
  gandist__forgive_mpi(${T_NAME})
endfunction()

macro(gandist__register name processors command)
  set(tmp ${CMAKE_BINARY_DIR}/test-tmp/${name})
  file(MAKE_DIRECTORY ${tmp})
  add_test(NAME ${name} COMMAND ${command} WORKING_DIRECTORY ${tmp})
  # More ranks than cores share them: never spin.
  set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT} SKIP_RETURN_CODE 77 LABELS "${T_LABELS}" PROCESSORS ${processors}
    ENVIRONMENT "GANDIST_TEST_TMP=${tmp};GANDIST_SOURCE_DIR=${PROJECT_SOURCE_DIR};GANDIST_BIN=$<TARGET_FILE:gandist>;GANDIST_BUILD_DIR=${CMAKE_BINARY_DIR};GANDIST_SANITIZE_FLAGS=$<$<BOOL:${GANDIST_SANITIZE}>:-fsanitize=address,undefined>;OMP_WAIT_POLICY=passive;GANDIST_CHECK=collectives;OMPI_MCA_mpi_yield_when_idle=1;OMPI_MCA_rmaps_base_oversubscribe=1;OMPI_MCA_btl_vader_single_copy_mechanism=none;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
endmacro()

# Open MPI never frees some memory; its plug-ins are unloaded by the time leaks are reported, so their names are
# only known with the slow unwinder. Sanitized builds only; our own leaks are still reported.
function(gandist__forgive_mpi name)
  if(GANDIST_SANITIZE)
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "ASAN_OPTIONS=fast_unwind_on_malloc=0"
      "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")
  endif()
endfunction()
