{{- define "gvList" -}}
# API reference

<!-- Generated from api/ by `make docs`. Edit the comments of the types there. -->
{{ range . }}
{{ template "gvDetails" . }}
{{ end }}
{{- end -}}
