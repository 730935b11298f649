FROM debian AS Base
ENV NAME=builder
USER $NAME
SHELL ["/bin/bash", "-c"]
RUN true
FROM base
RUN true
FROM base
CMD shell form
