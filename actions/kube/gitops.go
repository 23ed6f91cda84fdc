package kube

// gitOwner says who writes an object from a git repository, and so would change it back; "" for nobody.
func gitOwner(o object) string {
	label := func(name string) string { s, _ := o.at("metadata", "labels", name).(string); return s }
	annotation := func(name string) string { s, _ := o.at("metadata", "annotations", name).(string); return s }
	switch {
	case annotation("kustomize.toolkit.fluxcd.io/reconcile") == "disabled":
		return ""
	case label("kustomize.toolkit.fluxcd.io/name") != "":
		return "Flux's Kustomization " + label("kustomize.toolkit.fluxcd.io/namespace") + "/" + label("kustomize.toolkit.fluxcd.io/name")
	case label("helm.toolkit.fluxcd.io/name") != "":
		return "Flux's HelmRelease " + label("helm.toolkit.fluxcd.io/namespace") + "/" + label("helm.toolkit.fluxcd.io/name")
	case label("argocd.argoproj.io/instance") != "":
		return "Argo CD's Application " + label("argocd.argoproj.io/instance")
	case annotation("argocd.argoproj.io/tracking-id") != "":
		return "Argo CD (" + annotation("argocd.argoproj.io/tracking-id") + ")"
	}
	return ""
}
