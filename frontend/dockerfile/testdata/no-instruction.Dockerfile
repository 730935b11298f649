FROM debian
RUN true
NOTHING x
