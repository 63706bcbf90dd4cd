# Everything gandist stands on, found once. Each missing library is named with its Debian package.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
find_package(MPI REQUIRED COMPONENTS C)

# gandist_find(target debian-package pkg-config-module)
function(gandist_find target package module)
  pkg_check_modules(${target} QUIET IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${target}_FOUND)
    message(FATAL_ERROR "${module} not found: install the Debian package ${package} (./launch/quickstart does it)")
  endif()
  add_library(gandist::${target} ALIAS PkgConfig::${target})
  set(GANDIST_${target}_VERSION ${${target}_VERSION} CACHE INTERNAL "")
endfunction()

gandist_find(yaml libyaml-dev yaml-0.1)
gandist_find(jansson libjansson-dev jansson)
gandist_find(png libpng-dev libpng)
gandist_find(turbojpeg libturbojpeg0-dev libturbojpeg)
gandist_find(zlib zlib1g-dev zlib)
gandist_find(xxhash libxxhash-dev libxxhash)

# oneDNN ships a CMake package and no pkg-config file.
find_package(dnnl CONFIG QUIET)
if(NOT dnnl_FOUND)
  message(FATAL_ERROR "oneDNN not found: install the Debian package libdnnl-dev (./launch/quickstart does it)")
endif()
