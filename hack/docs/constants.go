package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// group is one parenthesised declaration of string constants.
type group struct {
	doc       string
	constants []constant
}

type constant struct{ name, value, doc string }

// parse returns the declarations of string constants in a file, in its order. A constant without a comment is an error.
func parse(path string) ([]group, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, declaration := range file.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok || general.Tok != token.CONST {
			continue
		}
		g := group{doc: oneLine(general.Doc)}
		for _, spec := range general.Specs {
			c, err := constantOf(spec)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			g.constants = append(g.constants, c)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func constantOf(spec ast.Spec) (c constant, err error) {
	value, ok := spec.(*ast.ValueSpec)
	if !ok || len(value.Names) != 1 || len(value.Values) != 1 {
		return c, fmt.Errorf("a declaration is not that of one constant: %v", spec)
	}
	c.name, c.doc = value.Names[0].Name, oneLine(value.Doc)
	literal, ok := value.Values[0].(*ast.BasicLit)
	if !ok {
		return c, fmt.Errorf("%s is no literal", c.name)
	}
	if c.value, err = strconv.Unquote(literal.Value); err != nil {
		return c, fmt.Errorf("%s: %w", c.name, err)
	}
	if !strings.HasPrefix(c.doc, c.name+" ") {
		return c, fmt.Errorf("%s has no comment that begins with its name", c.name)
	}
	return c, nil
}

func oneLine(comment *ast.CommentGroup) string {
	return strings.Join(strings.Fields(comment.Text()), " ")
}
