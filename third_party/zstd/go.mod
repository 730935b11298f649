module binproxy/third_party/zstd

go 1.24
