// Where the engine tier takes the CRDs of the charts' custom resources from (tests/engine/crds.py reads their files; no Go of
// theirs is built). Only these modules are downloaded, never what they require.
module spotforge.dev/tests/tools/crds

go 1.26.0

require (
	github.com/aws/karpenter-provider-aws v1.14.1
	github.com/cert-manager/cert-manager v1.21.2
	github.com/envoyproxy/gateway v1.9.1
	github.com/external-secrets/external-secrets v1.3.2
	github.com/prometheus-operator/prometheus-operator v0.92.1
	github.com/ray-project/kuberay/ray-operator v1.5.0
	sigs.k8s.io/gateway-api v1.6.1
	sigs.k8s.io/karpenter v1.14.1
)
