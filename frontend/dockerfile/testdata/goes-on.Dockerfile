FROM debian
RUN true \
