#!/bin/bash
# Builds OpenSSL's own FIPS provider from Debian's source package, installs it in a folder and prints that folder.
#
# The machine's own package sources and its OpenSSL are not touched. A provider built here is not a validated module:
# it has the same code paths and self tests, which is what the tests need.
set -eu -o pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)

fail() { echo "fips: $1" >&2; exit 1; }
say() { echo "fips: $1" >&2; }

for tool in apt-get dpkg-source gcc make perl; do
  command -v "$tool" >/dev/null || fail "$tool is missing; it comes with Debian's packages build-essential and dpkg-dev."
done

version=$(dpkg-query -W -f='${Version}' libssl3 2>/dev/null) || fail "Debian's package libssl3 is not installed."
cache="$here/.build/fips/$version"
if [ -f "$cache/fips.so" ] && [ -f "$cache/openssl.cnf" ]; then echo "$cache"; exit 0; fi

work="$here/.build/fips/work-$version"
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/archives/partial" "$cache"

# The machine's `deb` lines for Debian itself, as `deb-src` lines; a comment inside an entry is dropped.
sources="$work/sources.list"
{
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
    sed -nE 's/^[[:space:]]*deb([[:space:]]+(\[[^]]*\][[:space:]]+)?[^[:space:]]*debian)/deb-src\1/p'
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] || continue
    awk -v RS='' '{
      uris = suites = components = signed = "";
      lines = split($0, line, "\n");
      for (i = 1; i <= lines; i++) {
        if (line[i] ~ /^#/) continue;
        value = line[i]; sub(/^[^:]*:[ \t]*/, "", value);
        if (line[i] ~ /^URIs:/) uris = value;
        if (line[i] ~ /^Suites:/) suites = value;
        if (line[i] ~ /^Components:/) components = value;
        if (line[i] ~ /^Signed-By:/) signed = value;
      }
      if (uris !~ /debian/) next;
      n = split(uris, uri, /[ \t]+/); m = split(suites, suite, /[ \t]+/);
      for (i = 1; i <= n; i++) for (j = 1; j <= m; j++)
        print "deb-src " (signed == "" ? "" : "[signed-by=" signed "] ") uri[i] " " suite[j] " " components;
    }' "$file"
  done
} | sort -u >"$sources"
[ -s "$sources" ] || fail "no package source of Debian's was found in /etc/apt."

apt=(-o Dir::Etc::sourcelist="$sources" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$work/lists"
  -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User="$(id -un)")
say "looking for the source of openssl $version in the archives this machine uses"
apt-get "${apt[@]}" update -qq >&2 || fail "the package lists could not be read: see above."
cd "$work"
# The installed version where the archive still has it, else the newest of this release whose files can be fetched.
offered=$(apt-cache "${apt[@]}" showsrc openssl | awk '/^Version:/ { print $2 }' | sort -rV)
fetched=""
for candidate in "$version" $offered; do
  if apt-get "${apt[@]}" source -qq "openssl=$candidate" >"$work/source.log" 2>&1; then fetched=$candidate; break; fi
  say "the source of $candidate can't be had: $(tail -n 1 "$work/source.log")"
done
[ -n "$fetched" ] || fail "Debian's source package of openssl can't be had here: no version the archive lists could be fetched."
folder=$(find . -mindepth 1 -maxdepth 1 -type d -name 'openssl-*' | head -n 1)
[ -n "$folder" ] || fail "the source package was fetched and holds no folder openssl-*."
cd "$folder"
say "building the provider from the source of $fetched (some minutes)"
{
  ./Configure enable-fips no-tests
  make -j2 build_generated
  make -j2 providers/fips.so apps/openssl
} >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log" >&2; fail "the build failed; all of it is in $work/build.log."; }

cp providers/fips.so "$cache/"
LD_LIBRARY_PATH=. apps/openssl fipsinstall -module "$cache/fips.so" -out "$cache/fipsmodule.cnf" >>"$work/build.log" 2>&1 ||
  { tail -n 5 "$work/build.log" >&2; fail "the provider's self tests failed."; }
cat >"$cache/openssl.cnf.new" <<END
config_diagnostics = 1
openssl_conf = openssl_init
.include $cache/fipsmodule.cnf
[openssl_init]
providers = provider_sect
[provider_sect]
fips = fips_sect
base = base_sect
[base_sect]
activate = 1
END
echo "$fetched" >"$cache/version"
mv "$cache/openssl.cnf.new" "$cache/openssl.cnf"
rm -rf "$work"
say "built: $cache"
echo "$cache"
