FROM --platform=$BUILDPLATFORM golang AS compiler
RUN go build
FROM --platform=linux/386 debian AS never
RUN true
FROM compiler AS more
RUN true
FROM --platform=$TARGETPLATFORM debian
COPY --from=compiler /x /
RUN /x
