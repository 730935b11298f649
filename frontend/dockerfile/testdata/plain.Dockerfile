# what it is
FROM debian:bookworm

# why this runs
RUN uname -m
RUN apt-get update && \
    # a comment within
    apt-get install -y cowsay
