FROM debian
RUN true
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN false | true
CMD echo $HOME
HEALTHCHECK CMD true
RUN true
RUN ["true"]
ENTRYPOINT ["bash"]
SHELL ["/bin/sh", "-c"]
RUN true
