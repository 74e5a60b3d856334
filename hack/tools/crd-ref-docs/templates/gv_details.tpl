{{- define "gvDetails" -}}
## {{ .GroupVersionString }}

{{ .Doc }}
{{ range .SortedKinds }}
- {{ $.TypeForKind . | markdownRenderTypeLink }}
{{- end }}
{{ range .SortedTypes }}{{ if markdownShouldRenderType . }}
{{ template "type" . }}
{{ end }}{{ end }}
{{- end -}}
