#!/bin/sh
# Prometheus whose scrape targets are a Consul key, from nothing but environment variables. Needs a Consul on this host
# (CONFD_NODE), `prometheus` and `pilotfish` in PATH, and the key:
#   consul kv put prometheus/config/nodes '["localhost:9100"]'
# Change the key while it runs: the file is rewritten and Prometheus says that it loads it again.
#
# A multi-line variable cannot stand in docker's --env-file: with docker, use `docker run --env CONFD_CONFDFILE_1 ...`
# after exporting, or the form of marathon.json.
export CONFD_BACKEND=consul
export CONFD_NODE="${CONFD_NODE:-127.0.0.1:8500}"
export CONFD_CONFDFILE_1='prometheus.toml
[template]
src = "prometheus.yml.tmpl"
dest = "/tmp/prometheus/prometheus.yml"
keys = ["/prometheus/config/nodes"]
'
export CONFD_TEMPLATE_1='prometheus.yml.tmpl
global:
  scrape_interval: 15s
scrape_configs:
  - job_name: node
    static_configs:
      - targets: {{ getv "/prometheus/config/nodes" }}
'
mkdir -p /tmp/prometheus
exec pilotfish confd-sidecar prometheus --config.file=/tmp/prometheus/prometheus.yml --storage.tsdb.path=/tmp/prometheus/data
