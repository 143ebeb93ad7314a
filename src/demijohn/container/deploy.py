"""What runs an application elsewhere: files for compose, Kubernetes, systemd and nginx.

They are meant to be read, kept in the project and changed. Every choice has its reason beside it, so the reasons are in
the texts below and not here. The clocks fit together: whoever stops the server waits longer than it takes to drain.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ..server.settings import Settings
from .project import Project

_GRACEFUL_S = round(Settings().graceful_timeout_s)
_PRE_STOP_S = 5
_SPARE_S = 5  # for the exit itself
_KEEP_ALIVE_S = Settings().keep_alive_s


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the files are about.

    name: of the service, as a DNS label (RFC 1123).
    image: with its tag.
    port: where the server listens.
    replicas: how many containers a cluster keeps.
    has_dockerfile, has_env_file: there is a Dockerfile, a .env in the project.
    """

    name: str
    image: str
    port: int = 8000
    replicas: int = 2
    has_dockerfile: bool = False
    has_env_file: bool = False


def service_name(project: Project) -> str:
    """Return the project's name as a DNS label."""
    label = re.sub(r"[^a-z0-9]+", "-", project.title.lower()).strip("-")[:63].rstrip("-")
    return label or "app"


def _quoted(text: str) -> str:
    # A string of JSON is one of YAML.
    return json.dumps(text, ensure_ascii=False)


# -- compose --------------------------------------------------------------------------------------

_COMPOSE = """\
# Made by `demijohn deploy compose`; yours to keep and to change.  docker compose up -d
services:
  {name}:
    image: {image}
{build}{env_file}    ports: ["{port}:{port}"]
    # What is written is lost with the container anyway: uploads on their way go to /tmp, data to a volume.
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    # Longer than the server's --graceful-timeout ({graceful} s): what is in flight is finished first.
    stop_grace_period: {stop}s
    restart: unless-stopped
    # The server has one worker for each CPU of this limit, as far as the memory lasts.
    deploy: {{resources: {{limits: {{cpus: "1.0", memory: 512M}}}}}}
    # The health check is the image's own: docker ps shows it.
"""


def compose(deployment: Deployment) -> str:
    """Return a compose.yaml."""
    return _COMPOSE.format(
        name=deployment.name,
        image=_quoted(deployment.image),
        build="    build: .\n" if deployment.has_dockerfile else "",
        env_file="    # Secrets come in when it runs, and are not in the image.\n    env_file: [.env]\n"
        if deployment.has_env_file
        else "",
        port=deployment.port,
        graceful=_GRACEFUL_S,
        stop=_GRACEFUL_S + _SPARE_S,
    )


# -- Kubernetes -----------------------------------------------------------------------------------

_KUBERNETES = """\
# Made by `demijohn deploy kubernetes`; yours to keep and to change.  kubectl apply -f kubernetes.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app.kubernetes.io/name: {name}}}}}
spec:
  replicas: {replicas}
  revisionHistoryLimit: 3
  # A new pod is ready before an old one goes.
  strategy: {{type: RollingUpdate, rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  selector: {{matchLabels: {{app.kubernetes.io/name: {name}}}}}
  template:
    metadata: {{labels: {{app.kubernetes.io/name: {name}}}}}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      # Longer than preStop ({pre_stop} s) and the server's --graceful-timeout ({graceful} s) together.
      terminationGracePeriodSeconds: {grace}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        seccompProfile: {{type: RuntimeDefault}}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {{matchLabels: {{app.kubernetes.io/name: {name}}}}}
      containers:
        - name: web
          image: {image}
          imagePullPolicy: IfNotPresent
          ports: [{{name: http, containerPort: {port}}}]
          env:
            - {{name: PORT, value: "{port}"}}
            # Pages of the server itself, which answers them also while all its threads are busy.
            - {{name: DEMIJOHN_LIVEZ_PATH, value: /livez}}
            - {{name: DEMIJOHN_READYZ_PATH, value: /readyz}}
          envFrom: [{{configMapRef: {{name: {name}}}}}]
          # By number: what plays Kubernetes on a desk knows no names of ports.
          startupProbe: {{httpGet: {{path: /livez, port: {port}}}, periodSeconds: 1, failureThreshold: 60}}
          readinessProbe: {{httpGet: {{path: /readyz, port: {port}}}, periodSeconds: 5, timeoutSeconds: 2}}
          livenessProbe: {{httpGet: {{path: /livez, port: {port}}}, periodSeconds: 10, timeoutSeconds: 2}}
          # Requests go on to come until every node has heard that this pod leaves. (Kubernetes 1.30)
          lifecycle: {{preStop: {{sleep: {{seconds: {pre_stop}}}}}}}
          # Without a limit of CPU there would be a worker for each CPU of the node: WEB_CONCURRENCY says how many.
          resources: {{requests: {{cpu: 250m, memory: 256Mi}}, limits: {{memory: 512Mi}}}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {{drop: [ALL]}}
          volumeMounts: [{{name: tmp, mountPath: /tmp}}]
      volumes: [{{name: tmp, emptyDir: {{medium: Memory, sizeLimit: 64Mi}}}}]
---
# Settings of the server and of the application; secrets belong into a Secret.
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}}}
data: {{WEB_CONCURRENCY: "1", DEMIJOHN_LOG_LEVEL: info}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app.kubernetes.io/name: {name}}}
  ports: [{{name: http, port: 80, targetPort: {port}}}]
---
# A node that is emptied takes no more than one pod at a time.
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: {name}}}
spec:
  maxUnavailable: 1
  selector: {{matchLabels: {{app.kubernetes.io/name: {name}}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {name}}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  minReplicas: {replicas}
  maxReplicas: {most}
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 70}}}}}}]
"""


def kubernetes(deployment: Deployment) -> str:
    """Return a kubernetes.yaml: Deployment, ConfigMap, Service, PodDisruptionBudget, HorizontalPodAutoscaler."""
    return _KUBERNETES.format(
        name=deployment.name,
        image=_quoted(deployment.image),
        port=deployment.port,
        replicas=deployment.replicas,
        most=max(10, deployment.replicas * 5),
        pre_stop=_PRE_STOP_S,
        graceful=_GRACEFUL_S,
        grace=_PRE_STOP_S + _GRACEFUL_S + _SPARE_S,
    )


# -- systemd --------------------------------------------------------------------------------------

_SYSTEMD = """\
# Made by `demijohn deploy systemd`; yours to keep and to change.
#   cp {name}.service /etc/systemd/system/ && systemctl daemon-reload && systemctl enable --now {name}
#   journalctl -u {name} -f      systemctl reload {name}
[Unit]
Description={title}
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
WorkingDirectory={folder}
ExecStart={program} serve -b 127.0.0.1:{port} {arguments}
# New code: workers are replaced one at a time, and no connection is refused.
ExecReload=/bin/kill -HUP $MAINPID
# One worker for each core is right for most applications.
Environment=WEB_CONCURRENCY=2
# Secrets and settings of the application, NAME=VALUE; the file need not be there.
EnvironmentFile=-/etc/default/{name}
# The arbiter stops its workers itself. Longer than --graceful-timeout ({graceful} s).
KillMode=mixed
TimeoutStopSec={stop}
Restart=always
RestartSec=1
# A user of its own, who may write nowhere but in /var/lib/{name} and /tmp.
DynamicUser=yes
StateDirectory={name}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={protect_home}
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
CapabilityBoundingSet=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
LockPersonality=yes
SystemCallFilter=@system-service
MemoryMax=1G

[Install]
WantedBy=multi-user.target
"""


def systemd(deployment: Deployment, project: Project, program: str, folder: str, arguments: list[str]) -> str:
    """Return a unit that runs `program` in `folder` with what follows `serve`; without a container."""
    at_home = folder.startswith(("/home/", "/root", "/run/user/")) or program.startswith(("/home/", "/root"))
    return _SYSTEMD.format(
        name=deployment.name,
        title=re.sub(r"\s+", " ", project.title).replace("%", "%%"),
        folder=folder.replace("%", "%%"),
        program=_unit_word(program),
        arguments=" ".join(map(_unit_word, arguments)),
        port=deployment.port,
        graceful=_GRACEFUL_S,
        stop=_GRACEFUL_S + _SPARE_S,
        # It could not be read otherwise; /srv is a better place.
        protect_home="read-only" if at_home else "yes",
    )


def _unit_word(word: str) -> str:
    """Quote a word of a command line of a unit (systemd.service(5), "COMMAND LINES")."""
    word = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w/.:=@%$-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


# -- nginx ----------------------------------------------------------------------------------------

_NGINX = """\
# Made by `demijohn deploy nginx`; yours to keep and to change.
#   cp {name}.nginx.conf /etc/nginx/conf.d/{name}.conf && nginx -t && nginx -s reload
# The application must be told that it is behind a proxy, or request.remote_addr is that of nginx.
map $http_upgrade ${variable}_connection {{ default upgrade; "" ""; }}

upstream {name} {{
    server 127.0.0.1:{port};
    keepalive 32;
    # Shorter than the server's --keep-alive ({keep_alive:g} s): nginx then meets no connection that is being closed.
    keepalive_timeout {idle:g}s;
}}

server {{
    listen 80;
    listen [::]:80;
    server_name _;  # yours; certbot --nginx -d NAME adds the certificate
    client_max_body_size 100m;

    location / {{
        proxy_pass http://{name};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        # Only what nginx itself has seen: what clients write there is theirs to invent.
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Prefix "";
        proxy_set_header Forwarded "";
        proxy_set_header X-Request-Start "t=${{msec}}";
        # Websockets; without one, "" keeps the connection to the server open.
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection ${variable}_connection;
        proxy_read_timeout 75s;
        # A view that streams turns it off for its answer: X-Accel-Buffering: no.
        proxy_buffering on;
    }}
}}
"""


def nginx(deployment: Deployment) -> str:
    """Return a site for nginx, which passes everything to the server."""
    return _NGINX.format(
        name=deployment.name,
        variable=deployment.name.replace("-", "_"),
        port=deployment.port,
        keep_alive=_KEEP_ALIVE_S,
        idle=_KEEP_ALIVE_S - 1,
    )
