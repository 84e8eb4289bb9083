# The toolkit's images, by `docker buildx bake [TARGET ...]`; without a target, the first two.
#
#   REPOSITORY=my-registry/byo FRAMEWORK=torch docker buildx bake cpu
#   docker buildx bake --print          # shows what would be built
#
# ./build_and_push.sh also creates the repository, tries the image and checks what was pushed.

variable "REPOSITORY" { default = "byo" }
variable "FRAMEWORK" { default = "tensorflow" } # or torch; none for CPUs only
variable "REVISION" { default = "unknown" }
variable "PLATFORM" { default = "linux/amd64" } # or linux/arm64, for Graviton

group "default" {
  targets = ["cpu", "serve"]
}

target "_common" {
  context   = "."
  platforms = [PLATFORM]
  args = {
    FRAMEWORK = FRAMEWORK
    REVISION  = REVISION
  }
  # SageMaker's hosting takes Docker's media types without attestations only.
  attest = ["type=provenance,disabled=true", "type=sbom,disabled=true"]
  output = ["type=docker"]
}

target "cpu" {
  inherits   = ["_common"]
  dockerfile = "Dockerfile.cpu"
  target     = "train"
  tags       = ["${REPOSITORY}:cpu"]
}

target "serve" {
  inherits   = ["_common"]
  dockerfile = "Dockerfile.cpu"
  target     = "serve"
  tags       = ["${REPOSITORY}:serve"]
}

target "launch" {
  inherits   = ["_common"]
  dockerfile = "Dockerfile.cpu"
  target     = "launch"
  tags       = ["${REPOSITORY}:launch"]
}

target "gpu" {
  inherits   = ["_common"]
  dockerfile = "Dockerfile.gpu"
  target     = "train"
  tags       = ["${REPOSITORY}:gpu"]
}
