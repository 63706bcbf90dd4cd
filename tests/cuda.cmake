# The CUDA executor: what can be proven without a GPU.
if(NOT GANDIST_CUDA_BUILD)
  gandist_add_script_test(NAME cuda.device SCRIPT cuda/device.sh LABELS default cuda)
endif()
gandist_add_script_test(NAME cuda.sources_id SCRIPT cuda/sources_id.sh LABELS default cuda ARGS ${CMAKE_COMMAND})
if(GANDIST_CUDA_TEXT)
  set(cuda_text cuda/shim.c cuda/text_executor.c)
  gandist_add_test(NAME cuda.text_parity SOURCES cuda/text_parity.c ${cuda_text} ops/harness.c ops/cases.c
    LINK gandist::cuda_text LABELS default cuda)
  gandist_add_test(NAME cuda.text_steps SOURCES cuda/text_steps.c cuda/steps.c cuda/families.c ${cuda_text} ops/harness.c
    LINK gandist::cuda_text gandist::models LABELS default cuda TIMEOUT 1800)
  set(cuda_record cuda/record.c cuda/record_memory.c cuda/record_graph.c cuda/record_conv.c cuda/record_comm.c cuda/shim.c)
  gandist_add_test(NAME cuda.mistakes SOURCES cuda/mistakes.c ${cuda_record} LINK gandist::cuda_text LABELS default cuda)
  gandist_add_test(NAME cuda.exchange SOURCES cuda/exchange.c ${cuda_record} LINK gandist::cuda_text LABELS default cuda)
  gandist_add_test(NAME cuda.images SOURCES cuda/images.c ${cuda_record} LINK gandist::cuda_text LABELS default cuda)
  gandist_add_test(NAME cuda.feed SOURCES cuda/feed.c ${cuda_record} LINK gandist::cuda_text LABELS default cuda)
  gandist_add_test(NAME cuda.executor SOURCES cuda/executor.c cuda/on_device.c cuda/steps.c cuda/families.c ${cuda_record} ops/harness.c
    LINK gandist::cuda_text gandist::models LABELS default cuda TIMEOUT 1800)
  gandist_add_test(NAME cuda.optimizer SOURCES cuda/optimizer.c cuda/shim.c
    LINK gandist::cuda_text gandist::dist LABELS default cuda)
endif()
if(GANDIST_CUDA_BUILD)
  # libcuda, cuDNN, NVRTC and NCCL that need no GPU (cuda/fake.h): one object under the names of all four.
  set(GANDIST_FAKE_CUDA ${CMAKE_CURRENT_BINARY_DIR}/fake-cuda)
  add_library(gandist_fake_cuda SHARED cuda/fake_driver.c cuda/fake_nvrtc.c cuda/fake_cudnn.c cuda/fake_nccl.c cuda/record_conv.c cuda/shim.c)
  target_link_libraries(gandist_fake_cuda PRIVATE gandist::options gandist::cuda_headers gandist::compute ${CMAKE_DL_LIBS})
  target_include_directories(gandist_fake_cuda PRIVATE ${PROJECT_SOURCE_DIR})
  # What it keeps for its next call stays reachable when it is closed.
  target_link_options(gandist_fake_cuda PRIVATE LINKER:-Bsymbolic LINKER:-z,nodelete)
  set_target_properties(gandist_fake_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${GANDIST_FAKE_CUDA} OUTPUT_NAME cuda SUFFIX .so.1)
  foreach(name libcudnn_graph.so.9 libnvrtc.so.13 libnccl.so.2)
    add_custom_command(TARGET gandist_fake_cuda POST_BUILD VERBATIM
      COMMAND ${CMAKE_COMMAND} -E create_symlink libcuda.so.1 ${GANDIST_FAKE_CUDA}/${name})
  endforeach()
  gandist_add_test(NAME cuda.driver SOURCES cuda/driver.c cuda/on_device.c cuda/steps.c cuda/families.c ${cuda_record} ops/harness.c
    LINK gandist::cuda_host gandist::models LABELS default cuda TIMEOUT 300 ARGS ${GANDIST_FAKE_CUDA})
  add_dependencies(test_cuda.driver gandist_fake_cuda)
  gandist_add_test(NAME cuda.tune SOURCES cuda/tune.c ops/harness.c LINK gandist::cuda_host LABELS default cuda
    ARGS ${GANDIST_FAKE_CUDA})
  add_dependencies(test_cuda.tune gandist_fake_cuda)
  gandist_add_fuzz_test(NAME fuzz_cuda_plans SOURCES fuzz/cuda_plans.c LINK gandist::cuda_host
    CORPUS fuzz/corpus/cuda_plans RUNS 20000)
  # A libnccl that lacks functions.
  add_library(gandist_short_nccl SHARED cuda/short_nccl.c)
  target_link_libraries(gandist_short_nccl PRIVATE gandist::options)
  set_target_properties(gandist_short_nccl PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/short-nccl
    OUTPUT_NAME nccl SUFFIX .so.2)
  gandist_add_test(NAME cuda.nccl SOURCES cuda/nccl.c ops/harness.c LINK gandist::cuda_host LABELS default cuda
    ARGS ${GANDIST_FAKE_CUDA} ${CMAKE_CURRENT_BINARY_DIR}/short-nccl)
  add_dependencies(test_cuda.nccl gandist_fake_cuda gandist_short_nccl)
  gandist_add_test(NAME cuda.nccl_steps SOURCES cuda/nccl_steps.c ops/harness.c LINK gandist::cuda_host LABELS default cuda
    ARGS ${GANDIST_FAKE_CUDA})
  add_dependencies(test_cuda.nccl_steps gandist_fake_cuda)
  find_file(GANDIST_NCCL_HEADER nccl.h PATHS ${CUDAToolkit_INCLUDE_DIRS})
  mark_as_advanced(GANDIST_NCCL_HEADER)
  if(GANDIST_NCCL_HEADER)
    gandist_add_test(NAME cuda.nccl_header SOURCES cuda/nccl_header.c LINK gandist::cuda_headers LABELS default cuda)
  endif()
  # What a GPU is needed for, and that it says so where there is none.
  gandist_add_test(NAME gpu.parity SOURCES gpu/parity.c cuda/on_device.c cuda/steps.c cuda/families.c ops/harness.c
    LINK gandist::cuda_host gandist::models LABELS gpu TIMEOUT 600)
  gandist_add_test(NAME gpu.ops SOURCES gpu/ops.c cuda/on_device.c cuda/steps.c ops/harness.c ops/cases.c
    LINK gandist::cuda_host gandist::models LABELS gpu TIMEOUT 600)
  gandist_add_test(NAME gpu.nccl SOURCES gpu/nccl.c ops/harness.c LINK gandist::cuda_host LABELS gpu TIMEOUT 600)
  gandist_add_script_test(NAME cuda.gpu_run SCRIPT cuda/gpu_run.sh LABELS default cuda ARGS ${GANDIST_FAKE_CUDA})
  # Plug-ins of another version and of other sources, for cuda.device.
  foreach(kind old stale)
    add_library(gandist_${kind}_plugin MODULE cuda/old_plugin.c)
    target_include_directories(gandist_${kind}_plugin PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_libraries(gandist_${kind}_plugin PRIVATE gandist::options)
    set_target_properties(gandist_${kind}_plugin PROPERTIES
      LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${kind}-plugin OUTPUT_NAME gandist_cuda)
  endforeach()
  target_compile_definitions(gandist_stale_plugin PRIVATE STALE GANDIST_VERSION="${PROJECT_VERSION}")
  gandist_add_script_test(NAME cuda.device SCRIPT cuda/device.sh LABELS default cuda
    ARGS ${GANDIST_FAKE_CUDA} ${CMAKE_CURRENT_BINARY_DIR}/old-plugin ${CMAKE_CURRENT_BINARY_DIR}/stale-plugin)
  gandist_add_script_test(NAME cuda.train SCRIPT cuda/train.sh LABELS default cuda TIMEOUT 3600 ARGS ${GANDIST_FAKE_CUDA})
  gandist_add_script_test(NAME cuda.pools SCRIPT cuda/pools.sh LABELS default cuda TIMEOUT 900 ARGS ${GANDIST_FAKE_CUDA})
  gandist_add_script_test(NAME cuda.cost SCRIPT cuda/cost.sh LABELS default cuda TIMEOUT 600 ARGS ${GANDIST_FAKE_CUDA})
  gandist_add_script_test(NAME cuda.use SCRIPT cuda/use.sh LABELS default cuda TIMEOUT 900 ARGS ${GANDIST_FAKE_CUDA})
  gandist_add_script_test(NAME cuda.slices SCRIPT cuda/slices.sh LABELS default cuda TIMEOUT 600 ARGS ${GANDIST_FAKE_CUDA})
  gandist_add_script_test(NAME cuda.sums SCRIPT cuda/sums.sh LABELS default cuda TIMEOUT 900 ARGS ${GANDIST_FAKE_CUDA})
  foreach(name pools slices sums)
    gandist_add_script_test(NAME cuda.${name}_long SCRIPT cuda/${name}.sh LABELS long TIMEOUT 1800 ARGS ${GANDIST_FAKE_CUDA} --long)
  endforeach()
  gandist_add_script_test(NAME cuda.configure SCRIPT cuda/configure.sh LABELS default cuda ARGS toolkit)
  gandist_add_test(NAME cuda.nvrtc SOURCES cuda/nvrtc.c cuda/recipes.c cuda/families.c ${cuda_text}
    LINK gandist::cuda_host gandist::launch gandist::recipes LABELS default cuda TIMEOUT 300 ARGS --every 9 90 80 100)
  gandist_add_test(NAME cuda.dnn SOURCES cuda/dnn.c cuda/recipes.c ${cuda_text}
    LINK gandist::cuda_host gandist::launch gandist::recipes LABELS default cuda TIMEOUT 300)
  set(T_TIMEOUT 7200)
  set(T_LABELS long cuda)
  gandist__register(cuda.nvrtc_long 1 "$<TARGET_FILE:test_cuda.nvrtc>;--recipes;90;80;100")
  gandist__register(cuda.nvrtc_families_long 1 "$<TARGET_FILE:test_cuda.nvrtc>;90;80;100")
  foreach(name cuda.dnn cuda.nvrtc cuda.nvrtc_long cuda.nvrtc_families_long)
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT GANDIST_CUDA_LIBRARIES=${GANDIST_CUDA_LIBRARY_DIR})
  endforeach()
endif()
