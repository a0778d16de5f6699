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
{{- if include "mqttd.needsTls" . }}
tls:
  cert_file: /etc/mqttd/tls/tls.crt
  key_file: /etc/mqttd/tls/tls.key
  {{- if ne .Values.tls.clientCertificate "off" }}
  ca_file: /etc/mqttd/tls/ca.crt
  client_certificate: {{ .Values.tls.clientCertificate }}
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
{{- if ne (int .Values.nodes) 1 }}
{{- fail "nodes: this release runs one node; several would each have their own sessions and replicate nothing. More nodes come with the cluster." }}
{{- end }}
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
{{- $names := list }}
{{- $ports := list (int .Values.http.port) }}
{{- range .Values.listeners }}
{{- if has .name $names }}{{ fail (printf "listeners: two are called %s" .name) }}{{ end }}
{{- if has .name (list "headless" "admin") }}{{ fail (printf "listeners: %s is the name of another service of the chart" .name) }}{{ end }}
{{- if has (int .port) $ports }}{{ fail (printf "listeners: port %v is taken twice" .port) }}{{ end }}
{{- $names = append $names .name }}
{{- $ports = append $ports (int .port) }}
{{- end }}
{{- end }}
