{{- define "type_members" -}}
{{ .Doc | replace "\n" " " | trim }}
{{- range .Validation -}}
{{- if hasPrefix "Required" . }} _Required._
{{- else if not (or (hasPrefix "Optional" .) (hasPrefix "Type:" .) (hasPrefix "Enum:" .) (contains "XValidation" .) (and (eq $.Type.Name "Duration") (hasPrefix "MaxLength" .))) }} _{{ . | replace "items:" "of each: " }}._
{{- end }}{{ end }}
{{- end -}}
