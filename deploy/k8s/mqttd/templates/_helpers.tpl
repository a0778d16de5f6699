{{- define "mqttd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "mqttd.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "mqttd.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "mqttd.selector" -}}
app.kubernetes.io/name: {{ include "mqttd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mqttd.labels" -}}
{{ include "mqttd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "mqttd.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "mqttd.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "mqttd.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "mqttd.isTls" -}}
{{- if or (eq .protocol "mqtts") (eq .protocol "wss") }}yes{{ end }}
{{- end }}

{{- define "mqttd.needsTls" -}}
{{- range .Values.listeners }}{{ include "mqttd.isTls" . }}{{ end }}
{{- end }}

{{- define "mqttd.tlsSecret" -}}
{{- .Values.tls.existingSecret | default (printf "%s-tls" (include "mqttd.fullname" .)) }}
{{- end }}

{{/* Which secret has the authority of clients' certificates, if clients are asked for one. */}}
{{- define "mqttd.clientAuthority" -}}
{{- if and (include "mqttd.needsTls" .) (ne .Values.tls.clientCertificate "off") }}
{{- .Values.tls.clientAuthority.existingSecret | default .Values.tls.existingSecret }}
{{- end }}
{{- end }}

{{- define "mqttd.passwordSecret" -}}
{{- if .Values.auth.passwords.existingSecret }}
{{- .Values.auth.passwords.existingSecret }}
{{- else if .Values.auth.passwords.text }}
{{- include "mqttd.fullname" . }}-passwords
{{- end }}
{{- end }}

{{- define "mqttd.aclConfigMap" -}}
{{- if .Values.auth.acl.existingConfigMap }}
{{- .Values.auth.acl.existingConfigMap }}
{{- else if .Values.auth.acl.text }}
{{- include "mqttd.fullname" . }}-acl
{{- end }}
{{- end }}

{{- define "mqttd.isCluster" -}}
{{- if gt (int .Values.nodes) 1 }}yes{{ end }}
{{- end }}

{{/* Under which names nodes reach each other, without the domain of the Kubernetes cluster: it is in every pod's search list. */}}
{{- define "mqttd.podDomain" -}}
{{ include "mqttd.fullname" . }}-headless.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "mqttd.seeds" -}}
{{- $seeds := list }}
{{- range until (int .Values.nodes) }}
{{- $seeds = append $seeds (printf "%s-%d.%s:%d" (include "mqttd.fullname" $) . (include "mqttd.podDomain" $) (int $.Values.cluster.port)) }}
{{- end }}
{{- join "," $seeds }}
{{- end }}

{{/* Who makes the certificate of the nodes: existing, certManager, chart; or none. */}}
{{- define "mqttd.clusterTls" -}}
{{- if and (include "mqttd.isCluster" .) (not .Values.cluster.allowPlaintext) }}
{{- if .Values.cluster.tls.existingSecret }}existing{{ else if .Values.cluster.tls.certManager.enabled }}certManager{{ else }}chart{{ end }}
{{- end }}
{{- end }}

{{- define "mqttd.clusterTlsSecret" -}}
{{- .Values.cluster.tls.existingSecret | default (printf "%s-nodes-tls" (include "mqttd.fullname" .)) }}
{{- end }}

{{/* How long clients may take to be sent away, and with the store's end: the grace period. */}}
{{- define "mqttd.drainSeconds" -}}
{{ add .Values.drain.delaySeconds .Values.drain.timeoutSeconds 10 }}
{{- end }}

{{- define "mqttd.graceSeconds" -}}
{{ add (include "mqttd.drainSeconds" .) .Values.drain.stopSeconds }}
{{- end }}

{{/* mqttd.yaml, without what the user's `config` says. */}}
{{- define "mqttd.config" -}}
data_dir: /var/lib/mqttd
http:
  listen: 0.0.0.0:{{ .Values.http.port }}
drain:
  delay: {{ .Values.drain.delaySeconds }}s
  rate: {{ .Values.drain.rate }}
  timeout: {{ .Values.drain.timeoutSeconds }}s
  {{- with .Values.drain.serverReference }}
  server_reference: {{ . | quote }}
  {{- end }}
{{- if or .Values.auth.allowAnonymous (include "mqttd.passwordSecret" .) (include "mqttd.aclConfigMap" .) }}
auth:
  {{- if .Values.auth.allowAnonymous }}
  allow_anonymous: true
  {{- end }}
  {{- if include "mqttd.passwordSecret" . }}
  password_file: /etc/mqttd/passwords/{{ .Values.auth.passwords.key }}
  {{- end }}
  {{- if include "mqttd.aclConfigMap" . }}
  acl_file: /etc/mqttd/acl/{{ .Values.auth.acl.key }}
  {{- end }}
{{- end }}
{{- if .Values.auth.admin.existingSecret }}
admin:
  access_file: /etc/mqttd/admin/{{ .Values.auth.admin.key }}
{{- end }}
{{- if include "mqttd.needsTls" . }}
tls:
  cert_file: /etc/mqttd/tls/tls.crt
  key_file: /etc/mqttd/tls/tls.key
  {{- if include "mqttd.clientAuthority" . }}
  ca_file: /etc/mqttd/client-authority/ca.crt
  client_certificate: {{ .Values.tls.clientCertificate }}
  {{- end }}
{{- end }}
{{- if include "mqttd.isCluster" . }}
# Each pod says in its environment under which name the others reach it.
cluster:
  listen: 0.0.0.0:{{ .Values.cluster.port }}
  seeds: {{ include "mqttd.seeds" . }}
  expected_size: {{ .Values.nodes }}
  replicas: {{ .Values.cluster.replicas }}
  {{- if include "mqttd.clusterTls" . }}
  cert_file: /etc/mqttd/nodes/tls.crt
  key_file: /etc/mqttd/nodes/tls.key
  ca_file: /etc/mqttd/nodes/ca.crt
  {{- else }}
  allow_plaintext: true
  {{- end }}
{{- end }}
listeners:
  {{- range .Values.listeners }}
  - name: {{ .name }}
    url: {{ .protocol }}://*:{{ .port }}{{ if has .protocol (list "ws" "wss") }}{{ .path | default "/mqtt" }}{{ end }}
    {{- if .proxyProtocol }}
    proxy_protocol: true
    {{- end }}
    {{- with .settings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end }}

{{/* What the schema cannot see, because it concerns several values at once. */}}
{{- define "mqttd.check" -}}
{{- include "mqttd.checkInstalled" . }}
{{- include "mqttd.checkNodes" . }}
{{- $certificates := and (include "mqttd.needsTls" .) (eq .Values.tls.clientCertificate "required") }}
{{- $own := dig "auth" "allow_anonymous" "" .Values.config | toString }}
{{- $listeners := false }}
{{- range .Values.listeners }}
{{- if or (hasKey (.settings | default dict) "allow_anonymous") (hasKey (.settings | default dict) "password_file") (hasKey (.settings | default dict) "use_identity_as_username") }}
{{- $listeners = true }}
{{- end }}
{{- end }}
{{- if not (or .Values.auth.allowAnonymous (include "mqttd.passwordSecret" .) $certificates $own $listeners) }}
{{- fail "auth: nothing says who may connect. Set auth.passwords.existingSecret (users, made with mosquitto_passwd), tls.clientCertificate=required with a listener of mqtts, or, for a try, auth.allowAnonymous=true." }}
{{- end }}
{{- if and (include "mqttd.needsTls" .) (not .Values.tls.existingSecret) (not .Values.tls.certManager.enabled) }}
{{- fail "tls: a listener of mqtts or wss needs a certificate. Set tls.existingSecret, or tls.certManager.enabled=true and its issuerRef." }}
{{- end }}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) }}
{{- fail "tls.certManager.issuerRef.name: who is to sign?" }}
{{- end }}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.existingSecret) (not .Values.tls.certManager.dnsNames) (not .Values.tls.certManager.serviceNames) }}
{{- fail "tls.certManager.dnsNames: by which names do clients connect? Those inside the cluster (serviceNames) only an authority of yours signs." }}
{{- end }}
{{- if and (include "mqttd.needsTls" .) (ne .Values.tls.clientCertificate "off") (not (include "mqttd.clientAuthority" .)) }}
{{- fail "tls.clientAuthority.existingSecret: who signs the certificates of clients? It is not who signs those of the listeners, unless that is an authority of yours which signs for nobody else." }}
{{- end }}
{{- $names := list }}
{{- $ports := list (int .Values.http.port) }}
{{- if include "mqttd.isCluster" . }}
{{- if has (int .Values.cluster.port) $ports }}{{ fail (printf "cluster.port: port %v is taken twice" .Values.cluster.port) }}{{ end }}
{{- $ports = append $ports (int .Values.cluster.port) }}
{{- end }}
{{- range .Values.listeners }}
{{- if has .name $names }}{{ fail (printf "listeners: two are called %s" .name) }}{{ end }}
{{- if has .name (list "headless" "admin" "http" "cluster") }}{{ fail (printf "listeners: %s is the name of another port or service of the chart" .name) }}{{ end }}
{{- if has (int .port) $ports }}{{ fail (printf "listeners: port %v is taken twice" .port) }}{{ end }}
{{- $names = append $names .name }}
{{- $ports = append $ports (int .port) }}
{{- end }}
{{- end }}

{{- define "mqttd.checkNodes" -}}
{{- $nodes := int .Values.nodes }}
{{- if not (has $nodes (list 1 3 5)) }}
{{- fail (printf "nodes: 1, 3 or 5 are possible, not %v: with two of two, or three of four, no more may be lost than with one less." .Values.nodes) }}
{{- end }}
{{- if gt $nodes 1 }}
{{- $replicas := int .Values.cluster.replicas }}
{{- if gt $replicas $nodes }}
{{- fail (printf "cluster.replicas: %d nodes cannot have %d replicas of what is stored." $nodes $replicas) }}
{{- end }}
{{- if not .Values.persistence.enabled }}
{{- fail "persistence.enabled: several nodes need volumes. A node that comes back without what it had stored is not the one that the others know: it stores nothing from then on, and what it had is lost." }}
{{- end }}
{{- if and .Values.podDisruptionBudget.enabled (gt (int .Values.podDisruptionBudget.maxUnavailable) (div (sub $replicas 1) 2)) }}
{{- fail (printf "podDisruptionBudget.maxUnavailable: with %d of %d replicas away some sessions are not served." (int .Values.podDisruptionBudget.maxUnavailable) $replicas) }}
{{- end }}
{{- if and .Values.cluster.tls.certManager.enabled (not .Values.cluster.tls.certManager.issuerRef.name) }}
{{- fail "cluster.tls.certManager.issuerRef.name: who is to sign?" }}
{{- end }}
{{- if and .Values.cluster.allowPlaintext (or .Values.cluster.tls.existingSecret .Values.cluster.tls.certManager.enabled) }}
{{- fail "cluster.allowPlaintext: nodes either have a certificate (cluster.tls) or talk without." }}
{{- end }}
{{- end }}
{{- end }}

{{/* What is in Kubernetes already, as far as helm is asked to look: nothing with `helm template`. */}}
{{- define "mqttd.checkInstalled" -}}
{{- $nodes := int .Values.nodes }}
{{- $fullname := include "mqttd.fullname" . }}
{{- $set := lookup "apps/v1" "StatefulSet" .Release.Namespace $fullname }}
{{- if $set }}
{{- $had := dig "metadata" "annotations" "mqttd/nodes" "1" $set | int }}
{{- if ne $had $nodes }}
{{- fail (printf "nodes: %s was installed with %d and cannot become %d. What is stored does not move to other nodes yet, so the number stays as it was installed: keep nodes=%d, or install another release with %d and move the clients to it." $fullname $had $nodes $had $nodes) }}
{{- end }}
{{- if gt $nodes 1 }}
{{- $replicas := dig "metadata" "annotations" "mqttd/replicas" "" $set }}
{{- if ne $replicas (toString .Values.cluster.replicas) }}
{{- fail (printf "cluster.replicas: %s was installed with %s, and stays so." $fullname $replicas) }}
{{- end }}
{{- end }}
{{- else }}
{{- range (lookup "v1" "PersistentVolumeClaim" .Release.Namespace "").items }}
{{- if regexMatch (printf "^data-%s-[0-9]+$" $fullname) .metadata.name }}
{{- $had := dig "metadata" "labels" "mqttd/nodes" "1" . | int }}
{{- if ne $had $nodes }}
{{- fail (printf "nodes: the volume %s is there from an installation with %d, and cannot be used by %d. Install with nodes=%d; or, if what is stored there is not wanted any more, delete it: kubectl --namespace %s delete pvc --selector app.kubernetes.io/instance=%s" .metadata.name $had $nodes $had $.Release.Namespace $.Release.Name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
