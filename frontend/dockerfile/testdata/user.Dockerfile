FROM debian
ARG WHO=builder
ARG GIVEN
ENV NAME=$GIVEN
RUN useradd $WHO
USER $WHO
RUN id
USER ${NAME}:group
RUN id
