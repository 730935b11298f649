FROM node
USER root
RUN id
USER 0:0
