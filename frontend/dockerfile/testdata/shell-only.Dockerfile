FROM debian
SHELL ["/bin/sh", "-ec"]
RUN echo "<&>"
ENTRYPOINT exec sh
