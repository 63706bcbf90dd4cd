#!/bin/bash
# The id that a program and its plug-in are compared by follows from every byte and name of the files, and from nothing else.
# Usage: CMAKE
set -u
cmake=${1:?} tmp=${GANDIST_TEST_TMP:?} script=${GANDIST_SOURCE_DIR:?}/cmake/SourcesId.cmake failed=0
rm -rf "$tmp"/*
mkdir -p "$tmp/base" "$tmp/elsewhere/base"
printf 'int a;\n' > "$tmp/base/a.h"
printf 'int b;\n' > "$tmp/base/b.h"
id() { # folder, files
    "$cmake" "-DOUT=$tmp/id.h" "-DROOT=$1" "-DFILES=$2" -P "$script" && sed -n 's/^#define GD_SOURCES_ID "\([0-9a-f]\{16\}\)"$/\1/p' "$tmp/id.h"
}
expect() { # what, = or !=, id
    [ -n "$3" ] && [ "$3" $2 "$first" ] && { echo "ok $1"; return; }
    echo "FAIL $1: '$3', first '$first'"
    failed=1
}
first=$(id "$tmp" "base/a.h;base/b.h")
touch -d '2001-01-01' "$tmp/id.h"
expect "once more" = "$(id "$tmp" "base/a.h;base/b.h")"
[ "$(stat -c %Y "$tmp/id.h")" -lt 1100000000 ] && echo "ok what did not change is not written" || { echo "FAIL written anew"; failed=1; }
expect "in another order" = "$(id "$tmp" "base/b.h;base/a.h")"
cp "$tmp"/base/*.h "$tmp/elsewhere/base"
expect "in another folder" = "$(id "$tmp/elsewhere" "base/a.h;base/b.h")"
expect "a file less" != "$(id "$tmp" "base/a.h")"
mv "$tmp/base/b.h" "$tmp/base/c.h"
expect "another name" != "$(id "$tmp" "base/a.h;base/c.h")"
mv "$tmp/base/c.h" "$tmp/base/b.h"
printf 'int a; \n' > "$tmp/base/a.h"
expect "one byte more" != "$(id "$tmp" "base/a.h;base/b.h")"
exit $failed
