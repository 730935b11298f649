FROM debian AS files
FROM scratch
COPY --from=files /etc/os-release /
CMD ["/none"]
