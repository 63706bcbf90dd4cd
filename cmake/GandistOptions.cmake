# gandist::options: language level, warnings and sanitizers of every target of this project.
add_library(gandist_options INTERFACE)
add_library(gandist::options ALIAS gandist_options)

target_compile_definitions(gandist_options INTERFACE _GNU_SOURCE)
# No contraction of a*b+c: results must not depend on what a compiler finds to fuse. Kernels that want fma say so.
target_compile_options(gandist_options INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wundef
  -ffp-contract=off -fno-math-errno)
if(GANDIST_WERROR)
  target_compile_options(gandist_options INTERFACE -Werror)
endif()
if(GANDIST_SANITIZE)
  target_compile_options(gandist_options INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(gandist_options INTERFACE -fsanitize=address,undefined)
endif()

# gandist_add_room(name SOURCES ... [PUBLIC targets] [PRIVATE targets]): one static library a room.
function(gandist_add_room name)
  cmake_parse_arguments(R "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(gandist_${name} STATIC ${R_SOURCES})
  add_library(gandist::${name} ALIAS gandist_${name})
  target_include_directories(gandist_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/gandist>)
  target_link_libraries(gandist_${name} PRIVATE $<BUILD_INTERFACE:gandist_options> ${R_PRIVATE} PUBLIC ${R_PUBLIC})
  set_target_properties(gandist_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()
