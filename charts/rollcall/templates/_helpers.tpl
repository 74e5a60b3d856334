{{/* The beginning of the names of all objects: "rollcall" for the release of that name. */}}
{{- define "rollcall.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The labels that selectors use. They never change, or an upgrade would fail. Takes the root and a component. */}}
{{- define "rollcall.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The labels and annotations of an object, as the rest of its metadata. Takes the root, a component, and optionally
further labels and annotations. */}}
{{- define "rollcall.metadata" -}}
{{- $labels := include "rollcall.selectorLabels" . | fromYaml -}}
{{- $labels = merge $labels (dict
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63)
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service) -}}
labels:
  {{- toYaml (merge $labels (default dict .labels) .root.Values.commonLabels) | nindent 2 }}
{{- with merge dict (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The metadata of a pod. Takes the root, a component, and optionally further labels and annotations. */}}
{{- define "rollcall.podMetadata" -}}
labels:
  {{- toYaml (merge (include "rollcall.selectorLabels" . | fromYaml) (default dict .labels) .root.Values.commonLabels) | nindent 2 }}
{{- with merge (dict "kubectl.kubernetes.io/default-container" .component) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "rollcall.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (printf "%s-manager" (include "rollcall.fullname" .)) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "rollcall.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* "true" if metrics are served: reading them takes a ClusterRole, unless everybody may. */}}
{{- define "rollcall.metricsServed" -}}
{{- if and .Values.metrics.enabled (or (not .Values.metrics.secure) (not .Values.namespaces)) -}}true{{- end -}}
{{- end -}}

{{/* Where the embedded NATS server is reached inside of the cluster. */}}
{{- define "rollcall.natsURL" -}}
{{- printf "nats://%s-nats.%s.svc:%v" (include "rollcall.fullname" .) .Release.Namespace .Values.embeddedNATS.service.port -}}
{{- end -}}

{{/* A subject list of the service account. */}}
{{- define "rollcall.subjects" -}}
- kind: ServiceAccount
  name: {{ include "rollcall.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
