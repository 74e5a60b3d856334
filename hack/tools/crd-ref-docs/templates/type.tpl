{{- define "type" -}}
### {{ .Name }}

{{ .Doc }}
{{ if .References }}
Used in {{ range $i, $type := .SortedReferences }}{{ if $i }}, {{ end }}{{ markdownRenderTypeLink $type }}{{ end }}.
{{ end }}
{{- if .EnumValues }}
| Value | Meaning |
| --- | --- |
{{ range .EnumValues -}}
| `{{ .Name }}` | {{ .Doc | replace "\n" " " | trim }} |
{{ end }}
{{- else if .Members }}
| Field | Type | Default | Meaning |
| --- | --- | --- | --- |
{{ if .GVK -}}
| `apiVersion` | string | | `{{ .GVK.Group }}/{{ .GVK.Version }}` |
| `kind` | string | | `{{ .GVK.Kind }}` |
{{ end -}}
{{ range .Members -}}
| `{{ .Name }}` | {{ if eq .Type.Name "Duration" }}duration{{ else }}{{ markdownRenderType .Type }}{{ end }} | {{ with .Default }}{{ if not (hasPrefix "{" .) }}`{{ . }}`{{ end }}{{ end }} | {{ template "type_members" . }} |
{{ end }}
{{- end -}}
{{- end -}}
