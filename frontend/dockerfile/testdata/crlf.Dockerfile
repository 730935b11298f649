FROM debian
# carriage returns
RUN true \
 && true
RUN ["true"]
