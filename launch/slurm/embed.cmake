# cmake -DIN=file -DOUT=file.c -DNAME=symbol -P embed.cmake: the bytes of a text as a C string constant.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "extern const char ${NAME}[];\nconst char ${NAME}[] = {${bytes}0};\n")
