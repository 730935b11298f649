FROM debian AS base
USER builder
ONBUILD COPY . /src
ONBUILD RUN make
ONBUILD RUN ["make", "install"]
SHELL ["/bin/bash", "-c"]
RUN true
ONBUILD CMD make test

FROM base
RUN last
FROM base AS other
ONBUILD RUN for those who build from the image
FROM debian
ONBUILD RUN true
