ARG X
FROM --platform=$X debian
RUN true
