FROM debian
RUN <<EOF
FROM is no instruction here
USER neither
EOF
RUN <<-A cat >/a && cat <<'B' >/b
	first
	A
RUN ["second"]
B
COPY <<text /text
RUN nothing
text
RUN <<X
#!/usr/bin/perl
print 1;
X
