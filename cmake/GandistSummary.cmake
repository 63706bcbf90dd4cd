message(STATUS "gandist ${PROJECT_VERSION}: ${CMAKE_BUILD_TYPE}, oneDNN ${dnnl_VERSION}, MPI ${MPI_C_VERSION}, sanitizers ${GANDIST_SANITIZE}, CUDA executor: none in this version")
