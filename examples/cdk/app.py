"""The model of a training job behind an endpoint: execution role, model, configuration, endpoint.

    npx aws-cdk deploy -c image=URI -c model=s3://BUCKET/KEY/model.tar.gz

`byo train --on aws --json` prints both, as TrainingImage and S3ModelArtifacts. Another image or
model makes a new model and configuration, and SageMaker updates the endpoint without a gap. More
settings, each as `-c NAME=VALUE`: name, instance_type, instance_count, and environment as JSON.
"""

import hashlib
import json
import re
import sys

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker


def read_settings(node):
    defaults = {
        "name": "my-algorithm",
        "instance_type": "ml.m5.large",
        "instance_count": "1",
        "environment": "{}",
    }
    names = ("image", "model", *defaults)
    settings = {name: node.try_get_context(name) or defaults.get(name) for name in names}
    if not settings["image"]:
        sys.exit("-c image=URI: the image in ECR, best with its digest")
    if not re.fullmatch(r"s3://[^/]+/.+[.]tar[.]gz", settings["model"] or ""):
        sys.exit("-c model=URI: the model is an s3:// URI that ends in .tar.gz")
    return settings


class EndpointStack(cdk.Stack):
    def __init__(self, scope, settings):
        super().__init__(scope, settings["name"])
        environment = json.loads(settings["environment"])
        content = json.dumps([settings["image"], settings["model"], environment])
        version = hashlib.sha256(content.encode()).hexdigest()[:12]
        role = self.make_role(settings["model"])
        model = sagemaker.CfnModel(
            self,
            "Model",
            model_name=f"{settings['name']}-{version}",
            execution_role_arn=role.role_arn,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
                image=settings["image"],
                model_data_url=settings["model"],
                environment=environment,
            ),
        )
        model.node.add_dependency(role)
        config = sagemaker.CfnEndpointConfig(
            self,
            "Configuration",
            production_variants=[
                sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                    variant_name="AllTraffic",
                    model_name=model.attr_model_name,
                    instance_type=settings["instance_type"],
                    initial_instance_count=int(settings["instance_count"]),
                    initial_variant_weight=1,
                )
            ],
        )
        endpoint = sagemaker.CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=settings["name"],
            endpoint_config_name=config.attr_endpoint_config_name,
        )
        cdk.CfnOutput(self, "EndpointName", value=endpoint.attr_endpoint_name)

    def make_role(self, model):
        """Return a role that reads this model, pulls images, and writes logs and metrics."""
        place = f"{self.region}:{self.account}"
        allowed = {
            "Model": (["s3:GetObject"], f"arn:{self.partition}:s3:::{model[len('s3://') :]}"),
            "Login": (["ecr:GetAuthorizationToken"], "*"),
            "Pull": (
                [
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                ],
                f"arn:{self.partition}:ecr:{place}:repository/*",
            ),
            "Log": (
                [
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:DescribeLogStreams",
                    "logs:PutLogEvents",
                ],
                f"arn:{self.partition}:logs:{place}:log-group:/aws/sagemaker/*",
            ),
            "Metrics": (["cloudwatch:PutMetricData"], "*"),
        }
        statements = [
            iam.PolicyStatement(sid=name, actions=actions, resources=[resource])
            for name, (actions, resource) in allowed.items()
        ]
        return iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "sagemaker.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            ),
            inline_policies={"endpoint": iam.PolicyDocument(statements=statements)},
        )


app = cdk.App()
EndpointStack(app, read_settings(app.node))
app.synth()
