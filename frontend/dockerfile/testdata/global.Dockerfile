ARG VERSION=1
ARG BASE=debian:$VERSION
ARG WHERE=$BUILDPLATFORM
ARG GIVEN=nothing
ARG FIRST=first
FROM --platform=$WHERE $BASE AS first
RUN true
FROM ${FIRST} AS second
ARG VERSION
USER u$VERSION
RUN true
FROM --platform=linux/s390x $GIVEN
RUN true
FROM second
RUN in the platform of second
