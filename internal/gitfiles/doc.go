// Package gitfiles hands out the files of a Git work tree, or of its index, one by one.
//
// [Open] finds the repository; a [WorkTree] or an [Index] of it lists what arguments
// mean, and [Each] reads that on all cores. Nothing is written, and no link is followed
// to a directory. Git runs without the keys of the environment, and only where the
// index or what it leaves out is asked for.
package gitfiles
