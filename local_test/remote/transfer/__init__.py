"""What a request needs in the account: data in S3, an image in ECR."""
