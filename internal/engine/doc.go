// Package engine tells which objects of GitOps engines apply the files of a repository.
//
// Hand each document to [Notes.Add], then ask [Notes.Model]. A [Model] follows an object
// from the folder that it names through kustomizations, components and patches, those of
// its parents included, as the engine itself does. It promises to name what it cannot
// know, such as a path that a template makes, as [Unknown], and to guess nothing.
package engine
