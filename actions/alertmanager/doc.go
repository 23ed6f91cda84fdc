// Package alertmanager has the handlers of correlate_alerts and silence_alerts, on the API v2 of an Alertmanager.
//
//	am, err := alertmanager.New(alertmanager.Options{URL: "http://alertmanager.monitoring:9093"})
//	handlers := am.Handlers()
//
// A silence carries the step's key in its comment, so that a step that is carried out again finds its own, and a rollback
// expires nobody else's.
package alertmanager
