// Package seed makes in a cluster what the plans of examples/plans are about, so that they can be run there.
package seed

import (
	"context"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

var plans = map[string]func(*seeder){
	"oomkill": func(s *seeder) {
		s.in("production")
		s.deployment("payment-service", 2, corev1.Container{Args: []string{"serve"}, Resources: corev1.ResourceRequirements{
			Limits: corev1.ResourceList{"memory": resource.MustParse("2Gi")}, Requests: corev1.ResourceList{"memory": resource.MustParse("1Gi")}}})
		s.autoscaler("payment-service-hpa", "payment-service", 2, 12)
	},
	"cascading-failure": func(s *seeder) {
		s.in("production")
		s.statefulSet("fraud-detection-db", 1)
		s.settings("fraud-detection-config", map[string]string{"DATABASE_POOL_SIZE": "100", "DATABASE_POOL_TIMEOUT": "10s", "LEVEL": "info"})
		settings := corev1.LocalObjectReference{Name: "fraud-detection-config"}
		s.deployment("fraud-detection-service", 5, corev1.Container{
			EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: settings}}},
			Env: []corev1.EnvVar{{Name: "POOL", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: settings, Key: "DATABASE_POOL_SIZE"}}}},
			VolumeMounts: []corev1.VolumeMount{{Name: "settings", MountPath: "/etc/fraud"}, {Name: "settings", MountPath: "/etc/pool-size", SubPath: "DATABASE_POOL_SIZE"}},
		}, corev1.Volume{Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: settings}}})
		s.deployment("checkout-service", 2, corev1.Container{})
		s.deployment("payment-gateway", 2, corev1.Container{})
	},
	"alert-storm": func(s *seeder) {
		s.in("infrastructure")
		s.statefulSet("redis-cluster", 3)
		for _, name := range []string{"service-a", "service-b", "service-c"} {
			s.deployment(name, 1, corev1.Container{})
		}
	},
	"database-deadlock": func(s *seeder) {
		s.in("production")
		s.statefulSet("postgres-primary", 1)
		s.deployment("orders-service", 2, corev1.Container{})
	},
}

// Plans are the names of the plans.
func Plans() []string { return slices.Sorted(maps.Keys(plans)) }

// Apply makes the objects of a plan, and two nodes for them. What is there already stays as it is.
func Apply(ctx context.Context, config *rest.Config, plan string) error {
	objects, ok := plans[plan]
	if !ok {
		return fmt.Errorf("there is no plan %q: there are %v", plan, Plans())
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	s := &seeder{ctx: ctx, client: client}
	for _, name := range []string{"seed-a", "seed-b"} {
		room := corev1.ResourceList{"cpu": resource.MustParse("64"), "memory": resource.MustParse("256Gi"), "pods": resource.MustParse("250")}
		_, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Allocatable: room, Capacity: room}}, metav1.CreateOptions{})
		s.note(err)
	}
	objects(s)
	return s.err
}

// A seeder makes objects until one cannot be made.
type seeder struct {
	ctx       context.Context
	client    kubernetes.Interface
	namespace string
	err       error
}

func (s *seeder) note(err error) {
	if s.err == nil && err != nil && !apierrors.IsAlreadyExists(err) {
		s.err = err
	}
}

func (s *seeder) in(namespace string) {
	s.namespace = namespace
	_, err := s.client.CoreV1().Namespaces().Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	s.note(err)
}

func template(name string, c corev1.Container) (map[string]string, corev1.PodTemplateSpec) {
	labels := map[string]string{"app": name}
	c.Name, c.Image = "main", "registry.example.com/"+name
	return labels, corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
}

// deployment makes a deployment that replaces its pods one by one, and its service.
func (s *seeder) deployment(name string, size int32, c corev1.Container, volumes ...corev1.Volume) {
	labels, pods := template(name, c)
	pods.Spec.Volumes = volumes
	one, none := intstr.FromInt32(1), intstr.FromInt32(0)
	_, err := s.client.AppsV1().Deployments(s.namespace).Create(s.ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{
		Replicas: &size, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: pods,
		Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &one, MaxUnavailable: &none}}}}, metav1.CreateOptions{})
	s.note(err)
	s.service(name, labels)
}

func (s *seeder) statefulSet(name string, size int32) {
	labels, pods := template(name, corev1.Container{})
	_, err := s.client.AppsV1().StatefulSets(s.namespace).Create(s.ctx, &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.StatefulSetSpec{
		Replicas: &size, ServiceName: name, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: pods}}, metav1.CreateOptions{})
	s.note(err)
	s.service(name, labels)
}

func (s *seeder) service(name string, selector map[string]string) {
	_, err := s.client.CoreV1().Services(s.namespace).Create(s.ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}, metav1.CreateOptions{})
	s.note(err)
}

func (s *seeder) settings(name string, data map[string]string) {
	_, err := s.client.CoreV1().ConfigMaps(s.namespace).Create(s.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}, metav1.CreateOptions{})
	s.note(err)
}

func (s *seeder) autoscaler(name, of string, least, most int32) {
	_, err := s.client.AutoscalingV2().HorizontalPodAutoscalers(s.namespace).Create(s.ctx, &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MinReplicas: &least, MaxReplicas: most,
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: of}}}, metav1.CreateOptions{})
	s.note(err)
}
