#!/bin/bash
# GANDIST_CUDA=OFF, AUTO and ON, with the toolkit and without: what configures, what is an error, and what is said.
set -u
tmp=${GANDIST_TEST_TMP:?}
failed=0
check() { # name, wanted exit (0 or 1), wanted words, arguments of cmake
    local name=$1 want=$2 words=$3 got=0
    shift 3
    rm -rf "$tmp/build"
    cmake -S "${GANDIST_SOURCE_DIR:?}" -B "$tmp/build" -DBUILD_TESTING=OFF "$@" > "$tmp/log" 2>&1 || got=1
    if [ "$got" != "$want" ] || ! tr '\n' ' ' < "$tmp/log" | tr -s ' ' | grep -qF -- "$words"; then
        echo "FAIL $name: exit $got, expected $want and '$words' in:"
        tail -5 "$tmp/log"
        failed=1
    else
        echo "ok $name"
    fi
}
hidden=-DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON
check "off" 0 "CUDA executor: off" -DGANDIST_CUDA=OFF
check "auto without" 0 "kernel texts only, the CUDA toolkit" -DGANDIST_CUDA=AUTO $hidden
check "on without" 1 "GANDIST_CUDA=ON: the CUDA toolkit" -DGANDIST_CUDA=ON $hidden
check "another word" 1 "expected ON, OFF or AUTO" -DGANDIST_CUDA=maybe
if [ "${1:-}" = toolkit ]; then
    check "auto with" 0 "plug-in, toolkit" -DGANDIST_CUDA=AUTO
    check "on with" 0 "plug-in, toolkit" -DGANDIST_CUDA=ON
fi
rm -rf "$tmp/build"
exit $failed
