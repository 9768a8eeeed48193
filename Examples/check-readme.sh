#!/bin/sh
# Fails unless the embedding example of README.md is, letter for letter, the program that is built and run here.
set -eu
cd "$(dirname "$0")"
sed -n '/<!-- embedding begins -->/,/<!-- embedding ends -->/p' ../README.md \
  | sed -e '/^<!--/d' -e '/^```/d' | diff -u - Sources/Embedding/main.swift
lines=$(grep -c '[^[:space:]]' Sources/Embedding/main.swift)
[ "$lines" -le 20 ] || { echo "The embedding example has $lines lines; 20 is the promise." >&2; exit 1; }
