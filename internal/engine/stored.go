package engine

import "clusterpair.dev/internal/manifest"

// stored is a document as it is kept until it is asked for: its nodes would take ten times
// the memory.
type stored struct {
	path, name string
	data       string // of all nodes, each before those below it
}

func (d *Document) stored() stored {
	return stored{d.Path, d.Name, manifest.Pack(d.Node)}
}

// document is the document with nodes of its own.
func (s *stored) document() Document {
	return Document{s.path, s.name, manifest.Unpack(s.data)}
}
