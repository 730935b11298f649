FROM debian AS a
USER me
ONBUILD RUN <<X
 1
X
onbuild run ["a",\
"b"]
FROM a
