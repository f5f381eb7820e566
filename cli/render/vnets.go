package render

import (
	"io"

	"weft/agent/localapi"
)

// VNETs draws the list of virtual networks.
func VNETs(w io.Writer, l *localapi.VNETList) error {
	rows := make([][]string, len(l.VNETs))
	for i, v := range l.VNETs {
		rows[i] = []string{Clean(v.Name), Clean(v.ID), mark(v.Selected), mark(v.Default), Clean(v.Comment)}
	}
	return Table(w, []string{"Name", "Virtual Network ID", "Selected", "Default", "Comment"}, rows)
}

func mark(yes bool) string {
	if yes {
		return "yes"
	}
	return ""
}

// VNET writes one virtual network.
func VNET(w io.Writer, v *localapi.VNET) error {
	return Lines(w, "Name", v.Name, "ID", v.ID, "Selected", mark(v.Selected), "Default", mark(v.Default), "Comment", v.Comment)
}
