"""What runs leave for the next one: images in the registry, and the bucket."""

from typing import Any, Final

from local_test.remote.access import TAG, Account, list_all
from local_test.remote.refusals import explaining, has_code, ignoring
from local_test.remote.transfer import images

_DELETION_BATCH: Final = 100  # the most that BatchDeleteImage takes


def list_images(account: Account) -> dict[str, list[str]]:
    """Return the tags that were pushed here, by repository; only of those that were made here.

    Raises: UserError or PlatformError if the registry cannot be asked.
    """
    ecr = account.client("ecr")
    found: dict[str, list[str]] = {}
    with explaining():
        for repository in list_all(ecr, "describe_repositories"):
            tags = ecr.list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"]
            if _has_mark(tags):
                name = str(repository["repositoryName"])
                entries = list_all(ecr, "list_images", repositoryName=name)
                pushed = [str(entry.get("imageTag", "")) for entry in entries]
                ours = [tag for tag in pushed if images.names_content(tag)]
                if ours or not entries:
                    found[name] = ours
    return found


def delete_images(account: Account, repository: str, tags: list[str]) -> bool:
    """Delete images, and then the repository if it is empty; return whether it was.

    Raises: UserError or PlatformError if the registry refuses.
    """
    ecr = account.client("ecr")
    with explaining():
        for start in range(0, len(tags), _DELETION_BATCH):
            batch = [{"imageTag": tag} for tag in tags[start : start + _DELETION_BATCH]]
            ecr.batch_delete_image(repositoryName=repository, imageIds=batch)
        with ignoring(has_code("RepositoryNotEmptyException")) as full:
            ecr.delete_repository(repositoryName=repository)
    return not full


def delete_bucket(account: Account) -> bool:
    """Delete the bucket if it was made here and is empty; return whether it was.

    Raises: UserError or PlatformError if S3 refuses.
    """
    s3 = account.client("s3")
    where = {"Bucket": account.bucket, "ExpectedBucketOwner": account.number}
    with explaining(), ignoring(has_code("NoSuchBucket", "NoSuchTagSet", "BucketNotEmpty")):
        if _has_mark(s3.get_bucket_tagging(**where)["TagSet"]):
            s3.delete_bucket(**where)
            return True
    return False


def _has_mark(tags: list[dict[str, Any]]) -> bool:
    return any(tag["Key"] == TAG for tag in tags)
