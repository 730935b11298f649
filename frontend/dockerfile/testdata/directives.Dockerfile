# syntax=docker/dockerfile:1
# escape=`
FROM debian
RUN echo one `
  two
RUN [ `
 "a" ]
