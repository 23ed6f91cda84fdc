// Package gitops has the handler of update_git_manifests: it edits a YAML file in a git repository, on a branch of its own,
// and opens a pull request.
//
// Repositories are the site's to say: a plan only names one of [Options.Repositories]. The branch is named by the step, so a
// step that is carried out again goes on where it was. Nothing is ever pushed to another branch, and nothing is forced.
// Comments and the form of what is not changed stay as they are. A rollback closes the pull request and deletes the branch,
// unless somebody has added to it or merged it.
package gitops
