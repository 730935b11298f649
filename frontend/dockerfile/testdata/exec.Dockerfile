FROM scratch
COPY says /
RUN ["/says", "two words"]
run --network=none [ "/says", "[", "" ]
RUN --mount=type=bind,source=a[0],target=/x \
 # a comment with ["/says"]

 ["/says", \
  "last"]
RUN [ "$x" = 1 ] || true
