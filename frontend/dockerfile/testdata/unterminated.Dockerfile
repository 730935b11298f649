FROM debian
RUN <<X
