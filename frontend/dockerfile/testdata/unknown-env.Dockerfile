FROM debian
ENV A=$B
ARG C=$A
USER $C
RUN true
