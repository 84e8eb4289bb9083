# The model of a training job behind an endpoint: execution role, model, configuration, endpoint.
#
#   terraform init
#   terraform apply -var image=URI -var model=s3://BUCKET/KEY/model.tar.gz
#
# `byo train --on aws --json` prints both, as TrainingImage and S3ModelArtifacts. Another image or
# model makes a new configuration, and SageMaker updates the endpoint without a gap.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40, < 7"
    }
  }
}

variable "name" {
  description = "Name of the endpoint and the role; names of models begin with it."
  type        = string
  default     = "my-algorithm"
}

variable "image" {
  description = "URI of the image in ECR, best with its digest."
  type        = string
}

variable "model" {
  description = "URI of model.tar.gz."
  type        = string

  validation {
    condition     = can(regex("^s3://[^/]+/.+[.]tar[.]gz$", var.model))
    error_message = "The model is an s3:// URI that ends in .tar.gz."
  }
}

variable "environment" {
  description = "Variables of the container."
  type        = map(string)
  default     = {}
}

variable "instance_type" {
  type    = string
  default = "ml.m5.large"
}

variable "instance_count" {
  type    = number
  default = 1
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  place     = "${data.aws_region.current.id}:${local.account}"
  model_arn = "arn:${local.partition}:s3:::${trimprefix(var.model, "s3://")}"
  content   = sha256(jsonencode([var.image, var.model, var.environment]))
  version   = "${var.name}-${substr(local.content, 0, 12)}"
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["sagemaker.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "Model"
    actions   = ["s3:GetObject"]
    resources = [local.model_arn]
  }
  statement {
    sid       = "Login"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    sid = "Pull"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:GetDownloadUrlForLayer",
    ]
    resources = ["arn:${local.partition}:ecr:${local.place}:repository/*"]
  }
  statement {
    sid = "Log"
    actions = [
      "logs:CreateLogGroup",
      "logs:CreateLogStream",
      "logs:DescribeLogStreams",
      "logs:PutLogEvents",
    ]
    resources = ["arn:${local.partition}:logs:${local.place}:log-group:/aws/sagemaker/*"]
  }
  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-endpoint"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "execution" {
  name   = "endpoint"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

resource "aws_sagemaker_model" "this" {
  name               = local.version
  execution_role_arn = aws_iam_role.execution.arn

  primary_container {
    image          = var.image
    model_data_url = var.model
    environment    = var.environment
  }

  lifecycle {
    create_before_destroy = true # the endpoint moves to the new one first
  }
  depends_on = [aws_iam_role_policy.execution]
}

resource "aws_sagemaker_endpoint_configuration" "this" {
  name_prefix = "${var.name}-"

  production_variants {
    variant_name           = "AllTraffic"
    model_name             = aws_sagemaker_model.this.name
    instance_type          = var.instance_type
    initial_instance_count = var.instance_count
    initial_variant_weight = 1
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_sagemaker_endpoint" "this" {
  name                 = var.name
  endpoint_config_name = aws_sagemaker_endpoint_configuration.this.name
}

output "endpoint" {
  description = "Name for InvokeEndpoint."
  value       = aws_sagemaker_endpoint.this.name
}
