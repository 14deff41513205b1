#!/usr/bin/env bash
# servers.sh [NAME...]: fetch the real servers that the tests run against, without root and without installing them.
#
# Each is a package of Debian (or Ubuntu), downloaded by apt from the mirror this machine is configured for, checked
# by apt against the distribution's own keyring, and unpacked under target/servers/NAME/. What can be started stands
# in target/servers/bin/. Without a NAME: every server the tests need. What is there already is not fetched again; to
# renew one, remove its folder. Two runs at once wait for each other.
#
# kube-apiserver is in no package any more: Debian's source of it is built, with Debian's Go, in about five minutes and
# 2 GB. KUBEBUILDER_ASSETS: a folder that has it, as Kubernetes' own test tools name it; then nothing is built.
#
# PILOTFISH_SERVERS: another folder than target/servers. PILOTFISH_KEYRING: another keyring than the distribution's.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dest=${PILOTFISH_SERVERS:-$root/target/servers}

say() { printf 'servers: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# NAME  PACKAGE  SUITE (`-`: this machine's own release)  PROGRAMS (paths in the package, the first that exists)
# etcd 3.4 is this release's, 3.5 a newer one's; the newer program runs on this release's C library.
# Consul left Debian after bullseye and Ubuntu after jammy; it needs nothing but a C library, so an old one runs.
table() {
  cat <<TABLE
consul      consul            $consul_suite  usr/bin/consul
prometheus  prometheus        -  usr/bin/prometheus
nginx       nginx             -  usr/sbin/nginx
haproxy     haproxy           -  usr/sbin/haproxy
tini        tini              -  usr/bin/tini-static usr/bin/tini
etcd        etcd-server       -  usr/bin/etcd
etcd35      etcd-server       $etcd35_suite  usr/bin/etcd
redis       redis-server      -  usr/bin/redis-server usr/bin/redis-check-rdb
qemu        qemu-user-static  -  usr/bin/qemu-aarch64-static usr/bin/qemu-aarch64
TABLE
}
standard="consul prometheus nginx haproxy tini etcd etcd35 kube-apiserver"

for tool in apt-get dpkg dpkg-deb flock; do
  command -v "$tool" >/dev/null || die "$tool is not here: the servers can only be fetched on Debian or Ubuntu"
done
# shellcheck source=/dev/null
. /etc/os-release
case "$ID ${ID_LIKE:-}" in
  *ubuntu*) consul_suite=jammy etcd35_suite=questing components="main universe" ring=ubuntu-archive-keyring.gpg ;;
  *debian*) consul_suite=bullseye etcd35_suite=trixie components=main ring=debian-archive-keyring.gpg ;;
  *) die "this is $ID: the servers can only be fetched on Debian or Ubuntu" ;;
esac
ring=${PILOTFISH_KEYRING:-/usr/share/keyrings/$ring}
[ -r "$ring" ] || die "cannot read $ring, the keys that packages are checked with"
own=${VERSION_CODENAME:?}
arch=$(dpkg --print-architecture)

mkdir -p "$dest"
dest=$(cd "$dest" && pwd)
exec 9>"$dest/.lock"
flock -n 9 || { say "waiting for another run to finish"; flock 9; }

# The mirrors of this machine: each address its apt knows for its own release.
mirrors=$(apt-get indextargets --format '$(IDENTIFIER)|$(RELEASE)|$(REPO_URI)' |
  sed -n "s/^Packages|$own|//p" | awk '!seen[$0]++')
[ -n "$mirrors" ] || die "apt has no source for $own (see /etc/apt/sources.list)"

# An apt of our own for one suite (SUITE/src: for its sources), in $dest/.apt/SUITE: its lists, its cache, its sources, none of the system's hooks
# (images often carry one that throws the downloads away). Sets apt_conf; fetches the lists once a day.
private_apt() { # SUITE
  local suite=${1%/src} home=$dest/.apt/$1 status=/var/lib/dpkg/status mirror line="deb [signed-by=$ring arch=$arch]"
  [ "$suite" = "$1" ] || line="deb-src [signed-by=$ring]"
  apt_conf=$home/apt.conf
  mkdir -p "$home/lists/partial" "$home/archives/partial" "$home/empty"
  # Another release's packages must not be compared with what is installed here.
  if [ "$suite" != "$own" ]; then status=$home/status; : >"$status"; fi
  {
    for hook in APT::Update::Pre-Invoke APT::Update::Post-Invoke APT::Update::Post-Invoke-Success \
      DPkg::Pre-Invoke DPkg::Post-Invoke DPkg::Pre-Install-Pkgs Acquire::IndexTargets; do echo "#clear $hook;"; done
    # Of all the indexes only the list of packages: no translations, icons or file contents.
    echo 'Acquire::IndexTargets::deb::Packages {'
    echo '  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages"; ShortDescription "Packages";'
    echo '  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages"; };'
    echo 'Acquire::IndexTargets::deb-src::Sources {'
    echo '  MetaKey "$(COMPONENT)/source/Sources"; ShortDescription "Sources";'
    echo '  Description "$(RELEASE)/$(COMPONENT) Sources"; };'
    echo 'Acquire::Languages "none"; Acquire::Retries "3";'
    echo "APT::Sandbox::User \"$(id -un)\";"
    echo 'Debug::NoLocking "1";' # the lock above stands for apt's own, which lie where only root writes
    echo 'APT::Keep-Downloaded-Packages "1"; Binary::apt-get::APT::Keep-Downloaded-Packages "1";'
    echo "Dir::Etc::sourcelist \"$home/sources.list\"; Dir::Etc::sourceparts \"$home/empty\";"
    echo "Dir::Etc::preferences \"/dev/null\"; Dir::Etc::preferencesparts \"$home/empty\";"
    echo "Dir::State \"$home\"; Dir::State::status \"$status\"; Dir::State::lists \"$home/lists\";"
    echo "Dir::Cache \"$home\"; Dir::Log \"$home\";"
  } >"$apt_conf"
  [ -z "$(find "$home/fresh" -mmin -1440 2>/dev/null)" ] || return 0
  say "reading the package list of $suite"
  for mirror in $mirrors; do
    echo "$line $mirror $suite $components" >"$home/sources.list"
    if apt-get -c "$apt_conf" -qq -o APT::Update::Error-Mode=any update >"$home/log" 2>&1; then
      : >"$home/fresh"
      return 0
    fi
  done
  cat "$home/log" >&2
  die "no mirror of this machine's apt gave a signed package list of $1"
}

# Puts the package with all it needs that is not installed here into $1.
download() { # FOLDER PACKAGE SUITE
  if [ "$3" = "$own" ]; then
    apt-get -c "$apt_conf" -qq -y --no-install-recommends --reinstall --download-only \
      -o Dir::Cache::archives="$1" install "$2" >"$1/log" 2>&1
  else
    (cd "$1" && apt-get -c "$apt_conf" -qq download "$2" >log 2>&1)
  fi
}

fetch() { # NAME PACKAGE SUITE PROGRAM...
  local name=$1 package=$2 suite=$3 home=$dest/$1 debs deb program libraries
  shift 3
  [ ! -e "$home/.complete" ] || return 0
  [ "$suite" != - ] || suite=$own
  private_apt "$suite"
  say "fetching $name"
  debs=$dest/.debs/$name
  rm -rf "$debs" "$home"
  mkdir -p "$debs/partial" "$home" "$dest/bin"
  download "$debs" "$package" "$suite" || { cat "$debs/log" >&2; die "cannot download $package of $suite"; }
  for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$home"; done
  # The name of a program is the server's, whatever the file is called, so that tests need no table.
  for program in "$@"; do
    [ ! -x "$home/$program" ] || break
  done
  [ -x "$home/$program" ] || die "$package of $suite has no $program"
  # The emulators of all other machines are 350 MB.
  [ "$name" != qemu ] || find "$home/usr/bin" -type f ! -name "${program##*/}" -delete
  libraries=$(find "$home" -name '*.so*' -path '*lib*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd: || true)
  # A script only when libraries came along; it becomes the program, so signals and process ids stay true.
  rm -f "$dest/bin/$name"
  if [ -n "$libraries" ]; then
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec %s "$@"\n' \
      "'$libraries'" "'$home/$program'" >"$dest/bin/$name"
    chmod +x "$dest/bin/$name"
  else
    ln -s "../$name/$program" "$dest/bin/$name"
  fi
  (cd "$debs" && ls ./*.deb) >"$home/.complete"
  rm -rf "$debs"
}

# Kubernetes as Debian last had it. Its one generated file that is not in the source is made by its own generator first.
kube_apiserver() {
  local home=$dest/kube-apiserver bin=$dest/bin/kube-apiserver work=$dest/.kube package version=k8s.io/component-base/version src dirs
  mkdir -p "$home" "$dest/bin" "$work"
  if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    [ -x "$KUBEBUILDER_ASSETS/kube-apiserver" ] || die "KUBEBUILDER_ASSETS names $KUBEBUILDER_ASSETS, where there is no kube-apiserver"
    ln -sfn "$KUBEBUILDER_ASSETS/kube-apiserver" "$bin"
    return 0
  fi
  if [ ! -x "$home/kube-apiserver" ]; then
    if [ "$consul_suite" != bullseye ]; then
      say "kube-apiserver can only be built on Debian: its tests will fail unless KUBEBUILDER_ASSETS names a folder that has it"
      return 0
    fi
    for package in golang-1.15-go golang-1.15-src; do
      # The two share one tree, tied by links from one into the other.
      [ ! -e "$work/$package.deb" ] || continue
      private_apt bullseye
      say "fetching $package"
      mkdir -p "$work/$package/partial"
      download "$work/$package" "$package" bullseye || { cat "$work/$package/log" >&2; die "cannot download $package"; }
      dpkg-deb -x "$work/$package"/*.deb "$work/go"
      mv "$work/$package"/*.deb "$work/$package.deb"
    done
    src=$work/path/src/k8s.io/kubernetes
    if [ ! -e "$src/.complete" ]; then
      private_apt bullseye/src
      say "fetching the source of kubernetes"
      # The file that describes the package may be gone from a mirror; apt checks the source itself against the signed list.
      (cd "$work" && apt-get -c "$apt_conf" -qq source --download-only --tar-only kubernetes >log 2>&1) ||
        ls "$work"/kubernetes_*.orig.tar.gz >/dev/null 2>&1 || { cat "$work/log" >&2; die "cannot download the source of kubernetes"; }
      rm -rf "$src"
      mkdir -p "$src"
      tar -xzf "$work"/kubernetes_*.orig.tar.gz -C "$src" --strip-components=1
      : >"$src/.complete"
    fi
    say "building kube-apiserver (about five minutes)"
    (
      cd "$src"
      export GOROOT=$work/go/usr/lib/go-1.15 GOPATH=$work/path GOCACHE=$work/cache GO111MODULE=off CGO_ENABLED=0 GOFLAGS=
      export PATH=$GOROOT/bin:$PATH
      go build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
      dirs=$(grep -rl --include='*.go' '+k8s:openapi-gen=' pkg cmd plugin vendor/k8s.io/ staging/src/k8s.io 2>/dev/null |
        xargs -n1 dirname | sed 's,^staging/src/,vendor/,' |
        grep -v -e /kube-openapi -e gengo -e sample-apiserver -e code-generator/ -e /kube-aggregator/docs |
        LC_ALL=C sort -u | sed 's,^,k8s.io/kubernetes/,' | paste -sd,)
      "$work/openapi-gen" --logtostderr -i "$dirs" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
        -h hack/boilerplate/boilerplate.generatego.txt -o "$GOPATH/src" -r "$work/violations"
      # A server takes no version but one of this shape.
      go build -ldflags "-s -w -X $version.gitVersion=v1.20.2 -X $version.gitMajor=1 -X $version.gitMinor=20" \
        -o "$home/.new" ./cmd/kube-apiserver
    ) >"$work/log" 2>&1 || { tail -50 "$work/log" >&2; die "cannot build kube-apiserver (see above)"; }
    mv "$home/.new" "$home/kube-apiserver"
  fi
  rm -rf "$work"
  ln -sfn ../kube-apiserver/kube-apiserver "$bin"
}

[ $# -gt 0 ] || set -- $standard
for name; do
  if [ "$name" = kube-apiserver ]; then
    kube_apiserver
    continue
  fi
  line=$(table | awk -v n="$name" '$1 == n')
  [ -n "$line" ] || die "no server is called '$name'; there are: $(table | awk '{ printf "%s ", $1 }')kube-apiserver"
  # shellcheck disable=SC2086
  fetch $line
done
say "ready in $dest/bin: $*"
