{{- define "cmrfed-server.name" -}}
{{ printf "%s-cmrfed-server" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "cmrfed-server.selector" -}}
app.kubernetes.io/name: cmrfed-server
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cmrfed-server.labels" -}}
{{ include "cmrfed-server.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "cmrfed-server.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "cmrfed-server.closed" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
