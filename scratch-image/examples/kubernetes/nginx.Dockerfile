# nginx with pilotfish in front of it, for nginx.yaml. What is not nginx' own comes from a ConfigMap.
FROM nginxinc/nginx-unprivileged:stable-alpine-slim
COPY --from=REGISTRY/pilotfish:latest /pilotfish /pilotfish
ENTRYPOINT ["/pilotfish"]
